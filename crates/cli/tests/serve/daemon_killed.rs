//! kill -9 of the daemon and of the server, under load: nothing is orphaned, clients are told, the next one serves.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::json;

use crate::census::Census;
use crate::connection::Connection;
use crate::lab::shown;
use crate::place::Place;
use crate::process::wait_until;
use crate::server::Server;

const ROUNDS: usize = 10;

/// Sets it when it goes, also where an assertion fails: what waits for it in the same scope ends then.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One request of a client that takes whatever comes: `Some` where there was an answer.
fn ask(server: &Server, bytes: &[u8]) -> Option<u16> {
    Connection::try_open(&server.door)
        .and_then(|mut connection| connection.ask(bytes))
        .ok()
        .map(|answer| answer.status())
}

#[test]
fn a_killed_daemon_orphans_nothing() {
    let Some(place) = Place::new("killed daemons") else { return };
    let before = Census::take(&place.state());
    for round in 0..ROUNDS {
        let mut daemon = Server::daemon(&place);
        let ended = AtomicBool::new(false);
        let runs = AtomicU32::new(0);
        let door = &daemon.door.clone();
        let body = json!({ "command": ["sh", "-c", "sleep 0.02 & wait; echo x"] }).to_string();
        let request = daemon.bytes("POST", "/run", &[("Content-Type", "application/json")], body.as_bytes());
        std::thread::scope(|scope| {
            let _set_at_end = SetAtEnd(&ended);
            // The command line: with a daemon, without one, and while it dies: always the same.
            for _ in 0..2 {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        let output = place.output(&["run", "sh", "-c", "echo x; exit 7"]);
                        let result = (output.status.code(), &output.stdout[..], &output.stderr[..]);
                        assert_eq!(result, (Some(7), &b"x\n"[..], &b""[..]), "{}", shown(&output));
                        runs.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        let asked =
                            Connection::try_open(door).and_then(|mut connection| connection.ask(&request));
                        if asked.is_ok_and(|answer| answer.status() == 200) {
                            runs.fetch_add(1, Ordering::Relaxed);
                        } else {
                            std::thread::park_timeout(std::time::Duration::from_millis(5));
                        }
                    }
                });
            }
            // At another moment in each round.
            wait_until("some runs", || runs.load(Ordering::Relaxed) as usize > 2 + 3 * round);
            daemon.kill();
            let then = runs.load(Ordering::Relaxed);
            wait_until("runs without a daemon", || runs.load(Ordering::Relaxed) > then + 2);
        });
    }
    // What the last one left is found by the next command, whichever it is.
    place.ok(&["list"]);
    before.assert_same(&place.state());
    let mut next = Server::daemon(&place);
    assert_eq!(next.post("/run", &json!({ "command": ["echo", "served"] })).data()["output"], "served\n");
    next.assert_well();
    drop(next);
    before.assert_same(&place.state());
}

#[test]
fn a_killed_server_orphans_nothing() {
    let Some(place) = Place::new("killed servers") else { return };
    let before = Census::take(&place.state());
    for round in 0..ROUNDS {
        let mut server = Server::start(&place);
        let verbs: Vec<Vec<u8>> = [
            ("POST", "/run", json!({ "command": ["sleep", "0.01"] })),
            ("POST", "/run/stream", json!({ "command": ["echo", "x"] })),
            ("POST", "/sandboxes", json!({ "name": "box" })),
            ("POST", "/sandboxes/box/exec", json!({ "command": ["true"] })),
            ("POST", "/sandboxes/box/execs", json!({ "command": ["sleep", "1000"] })),
            ("POST", "/sandboxes/box/stop", json!({ "grace_ms": 0 })),
            ("POST", "/sandboxes/box/start", json!({})),
            ("DELETE", "/sandboxes/box", json!({})),
        ]
        .iter()
        .map(|(method, target, body)| {
            server.bytes(method, target, &[("Content-Type", "application/json")], body.to_string().as_bytes())
        })
        .collect();
        let (ended, asked) = (AtomicBool::new(false), AtomicU32::new(0));
        let pid = server.pid();
        std::thread::scope(|scope| {
            let (server, verbs, ended, asked) = (&server, &verbs, &ended, &asked);
            let _set_at_end = SetAtEnd(ended);
            for client in 0..4 {
                scope.spawn(move || {
                    for verb in verbs.iter().cycle().skip(client * 2) {
                        if ended.load(Ordering::Relaxed) {
                            break;
                        }
                        let status = ask(server, verb);
                        // 502: another client has removed the sandbox under its command.
                        assert!(status.is_none_or(|status| ![500, 501].contains(&status)), "{status:?}");
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            wait_until("some requests", || asked.load(Ordering::Relaxed) as usize > 10 + 7 * round);
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        });
        server.kill();
        // At once, and at the same port: a box that was just being started must not hold it.
        let mut next = Server::in_place_of(&server, &place);
        next.delete("/sandboxes/box").data();
        next.assert_well();
    }
    before.assert_same(&place.state());
}
