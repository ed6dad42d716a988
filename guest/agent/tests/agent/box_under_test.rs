//! Starts an agent and speaks to it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{AgentGuest, Execution, Guest};
use agentkernel_model::{BoxPath, ByteString, EnvVar, ExecRequest, Outcome};
use tokio::io::AsyncReadExt;

/// An agent in a pid namespace of its own, without any other wall.
pub(crate) struct TestBox {
    pub(crate) guest: Arc<AgentGuest>,
    pub(crate) logs: tempfile::TempDir,
    /// The socket that further clients connect to.
    socket: std::path::PathBuf,
    process: Process,
}

/// The box's processes: they go with this.
struct Process(Child);

impl Process {
    fn end(&mut self) {
        // Its own id; everything in the namespace goes with it.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl TestBox {
    /// `None`, with a line that says so, where the tests can't have a pid namespace.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(tempfile::tempdir().unwrap(), "--exit-with-stream").await
    }

    /// One that may be started again with the same logs.
    pub(crate) async fn start_lasting() -> Option<Self> {
        Self::start_with(tempfile::tempdir().unwrap(), "").await
    }

    /// Kills the box and starts another with its logs.
    pub(crate) async fn restart(self) -> Self {
        let Self { logs, mut process, .. } = self;
        process.end();
        std::fs::remove_file(logs.path().join("socket")).unwrap();
        Self::start_with(logs, "").await.unwrap()
    }

    async fn start_with(logs: tempfile::TempDir, lifetime: &str) -> Option<Self> {
        if !rustix_is_root() {
            println!("SKIPPED: only root can start the agent in a pid namespace here");
            return None;
        }
        let socket = logs.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::create_dir_all(logs.path().join("logs")).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        // The shell gives the descriptors the numbers that the agent is told.
        let script = "exec unshare --fork --pid --mount-proc --kill-child \
            \"$0\" --stream-fd 3 --listen-fd 5 $2 --log-dir-fd 4 \
            3<&0 0</dev/null 4<\"$1\" 5<&1 1>/dev/null";
        let child = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_agentkernel-agent")])
            .arg(logs.path().join("logs"))
            .arg(lifetime)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .unwrap();
        ours.set_nonblocking(true).unwrap();
        let guest = AgentGuest::connect(tokio::net::UnixStream::from_std(ours).unwrap());
        guest.ready().await.unwrap();
        Some(Self { guest, logs, socket, process: Process(child) })
    }

    /// The agent's process id, outside.
    pub(crate) fn agent_pid(&self) -> String {
        let unshare = self.process.0.id();
        let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
        children.trim().to_owned()
    }

    /// Another client.
    pub(crate) async fn connect(&self) -> Arc<AgentGuest> {
        AgentGuest::connect(tokio::net::UnixStream::connect(&self.socket).await.unwrap())
    }

    /// Runs a shell script and collects its output.
    pub(crate) async fn run(&self, script: &str) -> (Outcome, String, String) {
        let (outcome, stdout, stderr) = collect(self.guest.exec(&shell(script)).await.unwrap()).await;
        (outcome, text(&stdout), text(&stderr))
    }
}

fn rustix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All that a command says, and how it ends.
pub(crate) async fn collect(execution: Execution) -> (Outcome, Vec<u8>, Vec<u8>) {
    let Execution { stdin, mut stdout, stderr, control, .. } = execution;
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read_out = async { stdout.read_to_end(&mut out).await.unwrap() };
    let read_err = async {
        if let Some(mut stderr) = stderr {
            stderr.read_to_end(&mut err).await.unwrap();
        }
    };
    tokio::join!(read_out, read_err);
    let outcome = control.wait().await.unwrap();
    (outcome, out, err)
}

/// A request for `argv` with a small environment.
pub(crate) fn request(argv: &[&str]) -> ExecRequest {
    let var = |name: &str, value: &str| EnvVar { name: name.into(), value: value.into() };
    ExecRequest {
        argv: argv.iter().map(|argument| ByteString::from(*argument)).collect(),
        env: vec![var("PATH", "/usr/bin:/bin"), var("LANG", "C.UTF-8")],
        workdir: BoxPath::new("/").unwrap(),
        user: None,
        stdin: false,
        tty: None,
        timeout: None,
        detached_log_limit: None,
    }
}

/// A request for a shell script.
pub(crate) fn shell(script: &str) -> ExecRequest {
    request(&["sh", "-c", script])
}

/// Waits until `condition` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
