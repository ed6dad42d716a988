//! What cases ask of a guest, and how they wait.

use std::future::Future;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use agentkernel_backend::{BackendError, Execution, Guest, OutputStream};
use agentkernel_model::{BoxPath, ByteString, EnvVar, ExecRequest, Outcome};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a command ended and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// How it ended.
    pub outcome: Outcome,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl Done {
    /// Standard output as text, of a command that succeeded.
    pub fn text(&self) -> &str {
        assert_eq!(self.outcome, Outcome::Exited(0), "stderr: {:?}", String::from_utf8_lossy(&self.stderr));
        std::str::from_utf8(&self.stdout).expect("UTF-8")
    }
}

/// A request for `argv` with PATH alone as environment.
pub fn request(argv: &[&str]) -> ExecRequest {
    command(argv.iter().map(|argument| ByteString::from(*argument)).collect())
}

/// The same, for any bytes.
pub fn command(argv: Vec<ByteString>) -> ExecRequest {
    ExecRequest {
        argv,
        env: vec![EnvVar { name: "PATH".into(), value: "/usr/local/bin:/usr/bin:/bin".into() }],
        workdir: BoxPath::new("/").expect("a path"),
        user: None,
        stdin: false,
        tty: None,
        timeout: None,
        detached_log_limit: None,
    }
}

/// A request for a shell script.
pub fn script(text: &str) -> ExecRequest {
    request(&["sh", "-c", text])
}

/// Gives `future` the patience that anything gets.
///
/// # Panics
/// Where it isn't done then.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Asks again and again until it is so.
///
/// # Panics
/// Where it never is.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    within(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Reads all output and waits for the end.
pub async fn collect(execution: Execution) -> Done {
    let Execution { stdin, mut stdout, stderr, control, .. } = execution;
    drop(stdin);
    let progress = Progress::begin();
    progress
        .until("the end of a command", async {
            let read_err = async {
                match stderr {
                    Some(mut stderr) => progress.read_all(&mut stderr).await,
                    None => Ok(Vec::new()),
                }
            };
            let (out, err) = tokio::join!(progress.read_all(&mut stdout), read_err);
            let stdout = out.expect("standard output is readable to its end");
            let stderr = err.expect("standard error is readable to its end");
            let outcome = control.wait().await.expect("an outcome");
            Done { outcome, stdout, stderr }
        })
        .await
}

/// When something last went on. What is much may take long, on an emulated machine most of all; what stands still is
/// late.
struct Progress(Mutex<Instant>);

impl Progress {
    fn begin() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn last(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().expect("nobody panics with it")
    }

    async fn read_all(&self, stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while stream.read_buf(&mut bytes).await? > 0 {
            *self.last() = Instant::now();
        }
        Ok(bytes)
    }

    /// Gives `future` the patience that anything gets, anew whenever something went on.
    async fn until<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let late = async {
            let mut deadline = *self.last() + PATIENCE;
            while Instant::now() < deadline {
                // sleep: to the deadline, which may have moved by then
                tokio::time::sleep_until(deadline).await;
                deadline = *self.last() + PATIENCE;
            }
        };
        tokio::select! {
            done = future => done,
            () = late => panic!("{what}: nothing went on for {PATIENCE:?}"),
        }
    }
}

/// Runs a request to its end.
pub async fn run(guest: &dyn Guest, request: &ExecRequest) -> Done {
    let execution = within("the start of a command", guest.exec(request)).await;
    collect(execution.unwrap_or_else(|error| panic!("{:?}: {error}", request.argv))).await
}

/// The standard output of a shell script that succeeds and writes nothing to standard error.
pub async fn shell(guest: &dyn Guest, text: &str) -> String {
    let done = run(guest, &script(text)).await;
    assert_eq!(String::from_utf8_lossy(&done.stderr), "", "{text}");
    done.text().to_owned()
}

/// The error of a request that must not start.
pub(super) async fn refused(guest: &dyn Guest, request: &ExecRequest) -> BackendError {
    match within("a refusal", guest.exec(request)).await {
        Err(error) => error,
        Ok(execution) => panic!("{:?} was started: {:?}", request.argv, collect(execution).await),
    }
}

/// Reads until `wanted` has come; what came so far.
pub async fn read_until(stream: &mut (impl AsyncRead + Unpin + ?Sized), wanted: &str) -> Vec<u8> {
    let mut seen = Vec::new();
    within(&format!("{wanted:?} in the output"), async {
        let mut buffer = [0; 4096];
        while !seen.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
            let length = stream.read(&mut buffer).await.expect("readable");
            assert_ne!(
                length,
                0,
                "the output ended without {wanted:?}: {:?}",
                String::from_utf8_lossy(&seen)
            );
            seen.extend_from_slice(&buffer[..length]);
        }
    })
    .await;
    seen
}

/// A file's content for a guest.
pub(super) fn content(bytes: impl Into<Vec<u8>>) -> OutputStream {
    Box::new(std::io::Cursor::new(bytes.into()))
}

/// All of a stream.
pub(super) async fn read_all(mut stream: OutputStream) -> Vec<u8> {
    let progress = Progress::begin();
    let bytes = progress.until("the end of a stream", progress.read_all(&mut stream)).await;
    bytes.expect("readable to its end")
}

/// A path inside the box.
pub(super) fn path(text: &str) -> BoxPath {
    BoxPath::new(text).expect("a path inside a box")
}

/// `length` bytes that don't repeat soon.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// What `seq 1 last` writes.
pub(super) fn sequence(last: u32) -> Vec<u8> {
    use std::io::Write;
    let mut text = Vec::new();
    (1..=last).for_each(|number| writeln!(text, "{number}").expect("memory takes all"));
    text
}

/// How many processes of the box have `text` in their command.
pub(super) async fn count_processes(guest: &dyn Guest, text: &str) -> usize {
    let processes = within("the process list", guest.processes()).await.expect("a process list");
    processes
        .iter()
        .filter(|process| process.state != 'Z' && process.command.to_lossy().contains(text))
        .count()
}

/// A `sleep` duration that nothing else on the machine uses, so that its process can be found by it.
pub(super) fn unique_sleep() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) % 100;
    format!("77{}{number:02}", std::process::id() % 1_000_000)
}

/// `sh -c THIS tcp-echo PORT`: a TCP server on the box's loopback that sends back what it gets, in whatever language the
/// image has. (The fake knows it by its name, `tcp-echo`.)
pub const TCP_ECHO_SCRIPT: &str = r#"
if command -v perl >/dev/null 2>&1; then
  exec perl -MIO::Socket::INET -e '
    $s = IO::Socket::INET->new(Listen => 64, LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], ReuseAddr => 1) or die $@;
    $SIG{CHLD} = "IGNORE";
    while ($c = $s->accept) {
      if (fork) { close $c; next }
      while (sysread($c, $b, 65536)) {
        for ($o = 0; $o < length $b; $o += $n) { defined($n = syswrite($c, $b, length($b) - $o, $o)) or exit }
      }
      exit
    }' "$1"
elif command -v python3 >/dev/null 2>&1; then
  exec python3 -c '
import socketserver, sys
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536): self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64
Server(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()' "$1"
else
  exec nc -ll -p "$1" -e cat
fi
"#;
