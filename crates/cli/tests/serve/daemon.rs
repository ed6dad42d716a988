//! The daemon's life, and its door.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use serde_json::Value;

use crate::connection::{Connection, Door};
use crate::lab::{code, errors, shown};
use crate::place::Place;
use crate::process::wait_until;
use crate::server::Server;

/// One that every user of the machine can run.
const PYTHON: &str = "/usr/bin/python3";

/// A daemon in the background; stopped at the test's end.
struct Background<'a>(&'a Place);

impl<'a> Background<'a> {
    fn start(place: &'a Place) -> Self {
        place.ok(&["daemon", "start"]);
        Self(place)
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.0.ok(&["daemon", "status", "--json"])).unwrap()
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        let output = self.0.output(&["daemon", "stop"]);
        if !output.status.success() {
            println!("{}", shown(&output));
        }
    }
}

fn get(place: &Place, target: &str) -> std::io::Result<Value> {
    let mut connection = Connection::try_open(&Door::Unix(place.daemon_socket()))?;
    let text = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    Ok(connection.ask(text.as_bytes())?.data())
}

#[test]
fn it_starts_tells_of_itself_and_stops() {
    let place = Place::without_sandboxes();
    let output = place.output(&["daemon", "status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["running"], false, "{}", shown(&output));
    let daemon = Background::start(&place);
    let status = daemon.status();
    assert_eq!(status["running"], true, "{status}");
    let pid = status["pid"].as_u64().unwrap();
    assert_eq!(get(&place, "/health").unwrap(), "ok");
    // It answers who may: no key, and the whole API.
    assert_eq!(get(&place, "/sandboxes").unwrap(), serde_json::json!([]));
    // A second one is not needed and not made.
    let again = place.output(&["daemon", "start"]);
    assert_eq!(code(&again), 0, "{}", shown(&again));
    assert_eq!(daemon.status()["pid"], pid);
    place.ok(&["daemon", "restart"]);
    let restarted = daemon.status()["pid"].as_u64().unwrap();
    assert_ne!(restarted, pid);
    wait_until("the first one to be gone", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    place.ok(&["daemon", "stop"]);
    assert!(get(&place, "/health").is_err());
    assert!(!place.daemon_socket().exists());
    let stopped = place.output(&["daemon", "stop"]);
    assert_eq!(code(&stopped), 0, "nothing is left to do: {}", shown(&stopped));
}

#[test]
fn one_state_folder_has_one_daemon() {
    let place = Place::without_sandboxes();
    let mut first = Server::daemon(&place);
    let second = place.output(&["daemon", "start", "--foreground"]);
    assert_eq!(code(&second), 125, "{}", shown(&second));
    let pid = first.pid().to_string();
    assert!(errors(&second).contains(&pid), "it names the one that runs, {pid}: {}", errors(&second));
    first.assert_well();
    // A killed one leaves its socket behind, which holds up nobody.
    first.kill();
    assert!(place.daemon_socket().exists());
    let mut next = Server::daemon(&place);
    next.assert_well();
}

#[test]
fn its_door_is_its_user_s_alone() {
    let place = Place::without_sandboxes();
    let mut daemon = Server::daemon(&place);
    let socket = place.daemon_socket();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: another user at the daemon's door: only root can become one");
        return;
    }
    // The doors wide open: what then still refuses is that the daemon asks who is there.
    let mut folder = socket.as_path();
    while let Some(parent) = folder.parent() {
        let metadata = std::fs::metadata(parent).unwrap();
        if metadata.mode() & 0o001 == 0 {
            std::fs::set_permissions(parent, PermissionsExt::from_mode(metadata.mode() | 0o011)).unwrap();
        }
        folder = parent;
        if folder == std::env::temp_dir() {
            break;
        }
    }
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    let ask = format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({:?})\ns.settimeout(20)\n\
         try:\n s.sendall(b'GET /sandboxes HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')\n \
         print(s.recv(4096).decode())\nexcept (ConnectionError, BrokenPipeError):\n print('refused')",
        socket.to_str().unwrap()
    );
    let stranger = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", PYTHON, "-c", &ask];
    match Command::new("setpriv").args(stranger).output() {
        Ok(output) if code(&output) == 127 => {
            println!("SKIPPED: another user at the daemon's door: no {PYTHON}");
        }
        Ok(output) => {
            assert!(output.status.success(), "{}", shown(&output));
            let said = String::from_utf8_lossy(&output.stdout);
            let refused =
                said.trim().is_empty() || said.starts_with("HTTP/1.1 403") || said.contains("refused");
            assert!(refused, "{said}");
        }
        Err(error) => println!("SKIPPED: another user at the daemon's door: setpriv: {error}"),
    }
    let own = place.output(&["daemon", "status", "--json"]);
    assert_eq!(code(&own), 0);
    daemon.assert_well();
}
