//! Many at once: idle connections, pipelined requests, more work than there is room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::place::Place;
use crate::process::{open_files, wait_until};
use crate::server::Server;

/// Connections that one address may have.
const MOST: usize = 1000;

/// As many descriptors as this process may have; how many that is.
fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 16).min(1 << 16);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).unwrap();
    most as usize
}

#[test]
fn idle_connections_hold_nobody_up() {
    let place = Place::without_sandboxes();
    place.configure(&format!("[api.limits]\nmax_connections_per_peer = {MOST}\n"));
    let mut server = Server::start(&place);
    let before = open_files(server.pid());
    assert!(raise_limit() > MOST + 500, "too few descriptors for this test");
    let mut idle = Vec::new();
    for n in 0..MOST - 50 {
        let mut connection = server.connect();
        if n % 2 == 0 {
            connection.send(b"GET /hea").unwrap();
        }
        idle.push(connection);
        if n % 500 == 499 {
            server.assert_well();
        }
    }
    server.assert_well();
    // Beyond what one address may have: told so, and it harms nobody who is in.
    let mut kept = server.connect();
    let health = server.bytes("GET", "/health", &[], b"");
    assert_eq!(kept.ask(&health).unwrap().status(), 200);
    let mut refused = 0;
    for _ in 0..500 {
        let mut connection = server.connect();
        connection
            .socket()
            .set_deadline(std::time::Duration::from_millis(if refused == 0 { 50 } else { 5000 }))
            .unwrap();
        if let Ok(answer) = connection.answer() {
            assert_eq!(answer.refusal(), (503, "busy".to_owned()));
            refused += 1;
        }
        idle.push(connection);
    }
    assert!(refused > 100, "{refused} of 500 were refused");
    assert_eq!(kept.ask(&health).unwrap().status(), 200);
    drop(kept);
    drop(idle);
    wait_until("the connections to be gone", || open_files(server.pid()) <= before + 5);
    server.assert_well();
}

#[test]
fn a_flood_of_pipelined_requests_is_answered_in_order_or_not_at_all() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let host = server.host();
    let request = format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut connection = server.connect();
    let mut writer = connection.socket().try_clone().unwrap();
    let count = 20_000;
    let flood = std::thread::spawn(move || {
        use std::io::Write as _;
        (0..count).take_while(|_| writer.write_all(request.as_bytes()).is_ok()).count()
    });
    // First nothing is read, until all buffers are full.
    server.assert_well();
    let mut answered = 0;
    while answered < count {
        match connection.answer() {
            Ok(answer) => assert_eq!(answer.data(), "ok"),
            Err(_) => break,
        }
        answered += 1;
    }
    drop(connection);
    assert!(answered > 0 && flood.join().unwrap() >= answered);
    server.assert_well();
}

/// Requests whose answers nobody waits for.
#[test]
fn clients_that_leave_at_once_leave_nothing() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let before = open_files(server.pid());
    let request = server.bytes("GET", "/sandboxes", &[], b"");
    for _ in 0..500 {
        server.connect().send(&request).unwrap();
    }
    wait_until("the connections to be gone", || open_files(server.pid()) <= before + 5);
    server.assert_well();
}

#[test]
fn more_work_than_there_is_room_for_is_told_to_come_again() {
    let Some(place) = Place::new("more work than there is room for") else { return };
    place.configure("[api.limits]\nmax_concurrent_runs = 2\nmax_queued = 2\n");
    let mut server = Server::start(&place);
    server.sandbox("box");
    let wait = json!({ "command": ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.05; done"] });
    let mut waiting = Vec::new();
    for (running, queued) in [(1, 0), (2, 0), (2, 1), (2, 2)] {
        waiting.push(server.begin("/sandboxes/box/exec", "application/json", &wait));
        wait_until("one more to run or to wait", || {
            let stats = server.get("/stats").data();
            (stats["running"].as_u64(), stats["queued"].as_u64()) == (Some(running), Some(queued))
        });
    }
    for _ in 0..4 {
        let answer = server.post("/sandboxes/box/exec", &wait);
        assert_eq!(answer.refusal(), (503, "busy".to_owned()));
        assert!(answer.head.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()));
    }
    // One that gave up makes room for another.
    drop(waiting.pop());
    wait_until("its place to be free", || server.get("/stats").data()["queued"] == 1);
    let octets = [("Content-Type", "application/octet-stream")];
    server.ask("PUT", "/sandboxes/box/files/tmp/go", &octets, b"").data();
    for mut connection in waiting {
        assert_eq!(connection.answer().unwrap().data()["exit_code"], 0);
    }
    server.assert_well();
}
