//! WebSockets: giant frames, floods, frames that no client may send.

use serde_json::json;

use crate::place::Place;
use crate::process::peak_kib;
use crate::server::Server;
use crate::web_socket::{BINARY, Message, PING, TEXT, WebSocket, frame_head, handshake};

const CONNECT: &str = "/sandboxes/box/exec/connect";

fn open(server: &Server) -> WebSocket {
    let host = server.host();
    WebSocket::open(&server.door, CONNECT, &[("Host", &host)]).unwrap()
}

/// Whether the server ends the connection, whatever it says before.
fn ends(mut socket: WebSocket) -> bool {
    for _ in 0..10_000 {
        match socket.next() {
            None | Some(Message::Close(_)) => return true,
            Some(_) => {}
        }
    }
    false
}

#[test]
fn frames_that_no_client_may_send_end_the_connection() {
    let Some(place) = Place::new("wrong WebSocket frames") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    for (what, bytes) in [
        ("2^62 bytes", frame_head(0x80 | BINARY, 1 << 62)),
        ("2^64-1 bytes", frame_head(0x80 | BINARY, u64::MAX)),
        ("10 GB of text", frame_head(0x80 | TEXT, 10_000_000_000)),
        ("a reserved kind", frame_head(0x83, 0)),
        ("a reserved bit", frame_head(0xf0 | TEXT, 0)),
        ("a continuation of nothing", frame_head(0x80, 0)),
        ("a long ping", [frame_head(0x80 | PING, 126), vec![0; 126]].concat()),
        ("a ping in fragments", frame_head(PING, 0)),
        ("not masked", vec![0x80 | TEXT, 2, b'{', b'}']),
        ("text that is none", [frame_head(0x80 | TEXT, 2), vec![0xff, 0xfe]].concat()),
        ("no JSON", [frame_head(0x80 | TEXT, 1), b"{".to_vec()].concat()),
        (
            "an unknown message",
            [frame_head(0x80 | TEXT, 14), br#"{"type":"nope"#.to_vec(), b"\"".to_vec()].concat(),
        ),
        ("standard input first", [frame_head(0x80 | BINARY, 2), b"\0x".to_vec()].concat()),
    ] {
        let mut socket = open(&server);
        socket.connection().send(&bytes).unwrap();
        assert!(ends(socket), "{what}: the connection was kept");
    }
    server.assert_well();
}

#[test]
fn a_message_in_endless_fragments_is_cut_off() {
    let Some(place) = Place::new("endless WebSocket messages") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    let before = peak_kib(server.pid());
    let mut socket = open(&server);
    let fragment = |first: u8| [frame_head(first, 1 << 20), vec![b' '; 1 << 20]].concat();
    let mut sent = 0;
    let mut next = fragment(TEXT);
    while socket.connection().send(&next).is_ok() {
        sent += 1;
        assert!(sent < 1024, "{sent} MiB of one message were taken");
        next = fragment(0);
    }
    let grown = peak_kib(server.pid()) - before;
    assert!(grown < 160 * 1024, "the server grew by {grown} KiB");
    server.assert_well();
}

#[test]
fn a_flood_of_small_frames_costs_no_memory() {
    let Some(place) = Place::new("floods of WebSocket frames") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    let before = peak_kib(server.pid());
    for kind in [PING, 10, BINARY] {
        let mut socket = open(&server);
        socket.json(&json!({ "type": "exec", "exec": { "command": ["sleep", "1000"] } }));
        assert!(matches!(socket.next(), Some(Message::Text(value)) if value["type"] == "started"));
        // Nobody reads the pongs, and the command doesn't read its input: at some point nothing more is taken.
        socket.connection().socket().set_deadline(std::time::Duration::from_millis(500)).unwrap();
        let frame = [frame_head(0x80 | kind, 5), b"\0aaaa".to_vec()].concat();
        let flood = frame.repeat(10_000);
        for _ in 0..100 {
            if socket.connection().send(&flood).is_err() {
                break;
            }
        }
        drop(socket);
    }
    let grown = peak_kib(server.pid()) - before;
    assert!(grown < 96 * 1024, "the server grew by {grown} KiB");
    server.assert_well();
}

#[test]
fn many_sockets_that_say_nothing_hold_nobody_up() {
    let Some(place) = Place::new("silent WebSockets") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    let silent: Vec<WebSocket> = (0..200).map(|_| open(&server)).collect();
    assert_eq!(server.post("/run", &json!({ "command": ["echo", "x"] })).data()["output"], "x\n");
    server.assert_well();
    drop(silent);
    server.assert_well();
}

#[test]
fn what_is_no_web_socket_is_refused() {
    let Some(place) = Place::new("wrong WebSocket handshakes") else { return };
    let mut server = Server::with_key(&place, "admin");
    server.sandbox("box");
    let host = server.host();
    let key = format!("Bearer {}", server.key.as_ref().unwrap());
    let good = [("Host", &host[..]), ("Authorization", &key[..])];
    assert!(WebSocket::open(&server.door, CONNECT, &good).is_ok());
    let answer = |headers: &[(&str, &str)]| server.connect().ask(&handshake(CONNECT, headers)).unwrap();
    assert_eq!(answer(&[("Host", &host)]).refusal(), (401, "unauthorized".to_owned()));
    let wrong = [("Host", &host[..]), ("Authorization", "Bearer wrong")];
    assert_eq!(answer(&wrong).refusal().0, 401);
    // A page of another origin may open sockets without asking.
    let foreign = [good[0], good[1], ("Origin", "http://evil.example")];
    assert_eq!(answer(&foreign).refusal(), (403, "foreign_origin".to_owned()));
    let rebound = [("Host", "evil.example"), good[1]];
    assert_eq!(answer(&rebound).refusal(), (403, "foreign_origin".to_owned()));
    let plain = server.get(CONNECT);
    assert!([400, 426].contains(&plain.status()), "{} {}", plain.status(), plain.text());
    let old = String::from_utf8(handshake(CONNECT, &good)).unwrap().replace("Version: 13", "Version: 8");
    let old = server.connect().ask(old.as_bytes()).unwrap();
    assert!([400, 426].contains(&old.status()), "{}", old.status());
    server.assert_well();
}
