//! A server of the test's own, on a free port of loopback or on its socket.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::connection::{Answer, Connection, Door};
use crate::place::{CONFIG, Place};
use crate::process::{self, PATIENCE};

/// A server that answers even a debug build's first request in time.
const PROMPTLY: Duration = Duration::from_secs(5);

/// A running `agentkernel serve` or `agentkernel daemon start --foreground`.
pub(crate) struct Server {
    child: Child,
    /// Kept open: a server that can't write its first lines would die of it.
    _stdout: Option<BufReader<ChildStdout>>,
    pub(crate) door: Door,
    /// Sent with each request where there is one.
    pub(crate) key: Option<String>,
    log: std::path::PathBuf,
}

impl Server {
    /// On a free port. Its first line says which.
    pub(crate) fn start(place: &Place) -> Self {
        Self::with(place, &[])
    }

    /// With more arguments.
    pub(crate) fn with(place: &Place, more: &[&str]) -> Self {
        Self::serve(place, "0", more)
    }

    /// Where another was.
    pub(crate) fn in_place_of(other: &Self, place: &Place) -> Self {
        Self::serve(place, &other.address().port().to_string(), &[])
    }

    fn serve(place: &Place, port: &str, more: &[&str]) -> Self {
        let config = place.path(CONFIG);
        let named = if config.exists() { &["--config", CONFIG][..] } else { &[] };
        Self::of(place, place.command(&[&["serve", "--port", port], named, more].concat()))
    }

    /// Of a command that tells its address.
    pub(crate) fn of(place: &Place, mut command: Command) -> Self {
        let log = place.path("server.log");
        command.stdout(Stdio::piped()).stderr(File::options().create(true).append(true).open(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = address(&line).unwrap_or_else(|| {
            panic!("no address in {line:?}\n{}", std::fs::read_to_string(&log).unwrap_or_default())
        });
        Self { child, _stdout: Some(stdout), door: Door::Tcp(address), key: None, log }
    }

    /// With keys in force, and one of this scope to ask with.
    pub(crate) fn with_key(place: &Place, scope: &str) -> Self {
        let key = place.key("mine", scope);
        let mut server = Self::start(place);
        server.key = Some(key);
        server
    }

    /// The daemon, in the foreground.
    pub(crate) fn daemon(place: &Place) -> Self {
        let log = place.path("daemon.log");
        let mut command = place.command(&["daemon", "start", "--foreground"]);
        command.stdout(Stdio::null()).stderr(File::options().create(true).append(true).open(&log).unwrap());
        let child = command.spawn().unwrap();
        let server = Self { child, _stdout: None, door: Door::Unix(place.daemon_socket()), key: None, log };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&self) {
        process::wait_until("the daemon to answer", || {
            Connection::try_open(&self.door)
                .and_then(|mut connection| connection.ask(&self.bytes("GET", "/health", &[], b"")))
                .is_ok_and(|answer| answer.status() == 200)
        });
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.door {
            Door::Tcp(address) => *address,
            Door::Unix(path) => panic!("{} is no TCP address", path.display()),
        }
    }

    /// What `Host` should say.
    pub(crate) fn host(&self) -> String {
        match &self.door {
            Door::Tcp(address) => address.to_string(),
            Door::Unix(_) => "localhost".to_owned(),
        }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.door)
    }

    /// `Authorization` and `Host` as they should be.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let key = self.key.iter().map(|key| ("Authorization".to_owned(), format!("Bearer {key}")));
        key.chain([("Host".to_owned(), self.host())]).collect()
    }

    /// A request as a well-behaved client sends it.
    pub(crate) fn bytes(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in self.headers() {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || !["GET", "DELETE", "HEAD"].contains(&method) {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        [text.as_bytes(), body].concat()
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bytes = self.bytes(method, target, headers, body);
        self.connect().ask(&bytes).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], b"")
    }

    #[track_caller]
    pub(crate) fn delete(&self, target: &str) -> Answer {
        self.ask("DELETE", target, &[], b"")
    }

    #[track_caller]
    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask("POST", target, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// A request whose answer is read by the caller, as it comes.
    #[track_caller]
    pub(crate) fn begin(&self, target: &str, accept: &str, body: &Value) -> Connection {
        let headers = [("Content-Type", "application/json"), ("Accept", accept)];
        let mut connection = self.connect();
        connection.send(&self.bytes("POST", target, &headers, body.to_string().as_bytes())).unwrap();
        connection
    }

    /// A sandbox that runs.
    #[track_caller]
    pub(crate) fn sandbox(&self, name: &str) {
        self.post("/sandboxes", &serde_json::json!({ "name": name })).data();
    }

    /// Fails unless it lives, answers at once, and has not grown beyond bounds.
    #[track_caller]
    pub(crate) fn assert_well(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the server has died");
        let begun = Instant::now();
        assert_eq!(self.get("/health").data(), "ok");
        let taken = begun.elapsed();
        assert!(taken < PROMPTLY, "/health took {taken:?}");
        let peak = process::peak_kib(self.pid());
        assert!(peak < 256 * 1024, "the server grew to {peak} KiB");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    /// SIGKILL, waited for.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; its exit code.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            // In order, so that nothing is left to tidy up for others; by force if that takes too long.
            self.signal(Signal::TERM);
            let deadline = Instant::now() + PATIENCE;
            while self.child.try_wait().unwrap().is_none() && Instant::now() < deadline {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            if self.child.try_wait().unwrap().is_none() {
                self.kill();
            }
        }
        if std::thread::panicking() {
            println!("the server's log:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// The address in a line such as `listening on http://127.0.0.1:18888`.
fn address(line: &str) -> Option<SocketAddr> {
    let words = line.split(|c: char| c.is_whitespace() || c == '/' || c == '"' || c == ',');
    words.filter_map(|word| word.parse().ok()).next()
}

#[test]
fn an_address_is_found_in_its_line() {
    assert_eq!(address("listening on http://127.0.0.1:18888\n").unwrap().port(), 18888);
    assert_eq!(address("http://[::1]:5/ (no key needed)").unwrap().port(), 5);
    assert!(address("error: no").is_none());
}
