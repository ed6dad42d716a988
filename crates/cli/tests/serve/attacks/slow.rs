//! Clients that take for ever: heads, bodies and readers without haste.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::connection::Connection;
use crate::place::Place;
use crate::process::{resident_kib, wait_until};
use crate::server::Server;

/// Requests must have come after one second here, so that the tests are short.
const IMPATIENT: &str = "[api.limits]\nhead_timeout_seconds = 1\nbody_timeout_seconds = 1\n";
/// How much later than that a busy machine may notice.
const LATEST: Duration = Duration::from_secs(30);

/// Reads to the end of what the server says; fails where it never ends.
fn rest(connection: &mut Connection) -> String {
    let mut bytes = Vec::new();
    connection.socket().set_deadline(LATEST).unwrap();
    match connection.reader().read_to_end(&mut bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the connection was kept"),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// A request that has begun.
fn begun(server: &Server, begin: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(begin.as_bytes()).unwrap();
    connection
}

/// Sends `byte` after `byte` until the server has had enough, which must not be too late.
#[track_caller]
fn drip(mut connection: Connection, byte: &[u8], what: &str) {
    let begun = Instant::now();
    while connection.send(byte).is_ok() {
        assert!(begun.elapsed() < LATEST, "{what} that drips was waited for");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn heads_that_never_end_hold_nobody_up() {
    let place = Place::without_sandboxes();
    place.configure(IMPATIENT);
    let mut server = Server::start(&place);
    let begin = format!("GET /health HTTP/1.1\r\nHost: {}\r\nX-", server.host());
    let mut slow: Vec<Connection> = (0..300).map(|_| begun(&server, &begin)).collect();
    server.assert_well();
    for connection in &mut slow {
        let said = rest(connection);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
    server.assert_well();
}

/// One byte after the other, each in time: the deadline is one for all of it.
#[test]
fn a_head_that_drips_is_cut_off() {
    let place = Place::without_sandboxes();
    place.configure(IMPATIENT);
    let mut server = Server::start(&place);
    let begin = format!("GET /health HTTP/1.1\r\nHost: {}\r\nX: ", server.host());
    drip(begun(&server, &begin), b"y", "a head");
    server.assert_well();
}

#[test]
fn bodies_that_never_end_hold_nobody_up() {
    let place = Place::without_sandboxes();
    place.configure(IMPATIENT);
    let mut server = Server::start(&place);
    let begin = format!(
        "POST /run HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        server.host()
    );
    let mut slow: Vec<Connection> = (0..100).map(|_| begun(&server, &begin)).collect();
    server.assert_well();
    for connection in &mut slow {
        let said = rest(connection);
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408") && said.contains("request_timeout"),
            "{said}"
        );
    }
    drip(begun(&server, &begin), b" ", "a body");
    server.assert_well();
}

/// The command is held up by a client that doesn't read; the server keeps none of its output.
#[test]
fn a_reader_that_stops_holds_up_its_command_and_no_memory() {
    let Some(place) = Place::new("a reader that stops") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    let before = resident_kib(server.pid());
    let body = json!({ "command": ["sh", "-c", "while :; do head -c 1000000 /dev/zero; echo x >> /tmp/count; done"] });
    let mut streams: Vec<Connection> = [
        ("/sandboxes/box/exec/stream", "text/event-stream"),
        ("/sandboxes/box/exec", "application/vnd.agentkernel.frames"),
    ]
    .iter()
    .map(|(target, accept)| server.begin(target, accept, &body))
    .collect();
    for connection in &mut streams {
        assert_eq!(connection.head().unwrap().status, 200);
    }
    let megabytes = || server.get("/sandboxes/box/stat?path=/tmp/count").json()["data"]["size"].as_u64();
    let mut last = megabytes();
    // Full buffers on the way: the same number several times.
    let mut same = 0;
    wait_until("the commands to be held up", || {
        std::thread::park_timeout(Duration::from_millis(100));
        let now = megabytes();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same > 5
    });
    let grown = resident_kib(server.pid()).saturating_sub(before);
    assert!(grown < 64 * 1024, "the server grew by {grown} KiB");
    assert!(last.unwrap_or(0) < 2 * 100, "{last:?} bytes of count were written");
    drop(streams);
    server.assert_well();
}
