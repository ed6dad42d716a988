//! A terminal over a WebSocket: its size, what it has shown, who holds it.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::place::Place;
use crate::process::{mark, sleeps, wait_until};
use crate::server::Server;
use crate::web_socket::{BINARY, Message, WebSocket, frame_head};

const TERMINALS: &str = "/sandboxes/box/terminals";

fn open(server: &Server, request: &Value) -> String {
    let answer = server.post(TERMINALS, request);
    assert_eq!(answer.status(), 201, "{}", answer.text());
    answer.data()["id"].as_str().unwrap().to_owned()
}

fn attach(server: &Server, id: &str) -> WebSocket {
    let host = server.host();
    let mut socket = WebSocket::open(&server.door, &format!("{TERMINALS}/{id}"), &[("Host", &host)]).unwrap();
    let Some(Message::Text(attached)) = socket.next() else { panic!("not attached") };
    assert_eq!((&attached["type"], &attached["id"]), (&json!("attached"), &json!(id)));
    socket
}

fn shell() -> Value {
    json!({ "exec": { "command": ["sh"], "env": { "PS1": "> " } }, "rows": 33, "columns": 111 })
}

#[test]
fn a_terminal_has_its_size_and_keeps_what_it_has_shown() {
    let Some(place) = Place::new("terminals") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let id = open(&server, &shell());
    let mut socket = attach(&server, &id);
    socket.input(b"stty size; tty\n");
    let text = socket.read_until("/dev/");
    assert!(text.contains("33 111"), "{text}");
    socket.json(&json!({ "type": "resize", "rows": 44, "columns": 99 }));
    socket.input(b"until [ \"$(stty size)\" = '44 99' ]; do sleep 0.05; done; echo re''sized\n");
    socket.read_until("resized");
    // Without a word: as when a laptop is closed.
    drop(socket);
    wait_until("the terminal to be free", || server.get(TERMINALS).data()[0]["attached"] == false);
    let mut socket = attach(&server, &id);
    let shown = socket.read_until("resized");
    assert!(shown.contains("33 111"), "what was shown before: {shown}");
    socket.input(b"exit 7\n");
    let (exit, _, _) = socket.read_to_exit();
    assert_eq!(exit["result"]["exit_code"], 7);
}

#[test]
fn who_attaches_last_holds_the_terminal() {
    let Some(place) = Place::new("taken terminals") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let id = open(&server, &shell());
    let mut first = attach(&server, &id);
    first.input(b"echo o''ne\n");
    first.read_until("one\r\n");
    let mut second = attach(&server, &id);
    let last = std::iter::from_fn(|| first.next()).find(|message| matches!(message, Message::Text(_)));
    assert_eq!(last, Some(Message::Text(json!({ "type": "taken" }))));
    assert!(second.read_until("one\r\n").contains("one"));
    second.input(b"echo t''wo\n");
    second.read_until("two\r\n");
    // What the one who lost it still says goes nowhere.
    first.frame(BINARY, b"\0echo th''ree\n").ok();
    second.input(b"echo f''our\n");
    assert!(!second.read_until("four\r\n").contains("three"));
}

#[test]
fn a_closed_terminal_ends_its_command() {
    let Some(place) = Place::new("closed terminals") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let mark = mark();
    let sleep = json!({ "exec": { "command": ["sleep", mark] }, "keep_seconds": 300 });
    let id = open(&server, &sleep);
    wait_until("the command to run", || sleeps(&mark));
    assert_eq!(server.get(TERMINALS).data()[0]["command"], json!(["sleep", mark]));
    server.delete(&format!("{TERMINALS}/{id}")).data();
    wait_until("the command to end", || !sleeps(&mark));
    assert_eq!(server.delete(&format!("{TERMINALS}/{id}")).refusal(), (404, "not_found".to_owned()));
    // One that is not to be kept ends with its connection.
    let id = open(&server, &json!({ "exec": { "command": ["sleep", mark] }, "keep_seconds": 0 }));
    let socket = attach(&server, &id);
    wait_until("the command to run", || sleeps(&mark));
    drop(socket);
    wait_until("the command to end with its client", || !sleeps(&mark));
}

#[test]
fn interrupts_and_signals_reach_the_command() {
    let Some(place) = Place::new("interrupts in terminals") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let host = server.host();
    let connect = || {
        let target = "/sandboxes/box/exec/connect";
        let mut socket = WebSocket::open(&server.door, target, &[("Host", &host)]).unwrap();
        let exec = json!({ "command": ["sh", "-c", "echo up; exec sleep 1000"] });
        socket.json(&json!({ "type": "exec", "exec": exec, "tty": [10, 20] }));
        socket.read_until("up");
        socket
    };
    let mut socket = connect();
    socket.input(b"\x03");
    assert_eq!(socket.read_to_exit().0["result"]["exit_code"], 130);
    let mut socket = connect();
    socket.json(&json!({ "type": "signal", "signal": "SIGTERM" }));
    assert_eq!(socket.read_to_exit().0["result"]["exit_code"], 143);
}

#[test]
fn a_pipe_over_a_web_socket_ends_when_its_client_says_so() {
    let Some(place) = Place::new("input over WebSockets") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let host = server.host();
    let mut socket =
        WebSocket::open(&server.door, "/sandboxes/box/exec/connect", &[("Host", &host)]).unwrap();
    socket.json(&json!({ "type": "exec", "exec": { "command": ["sh", "-c", "cat; echo end >&2; exit 3"] } }));
    let input: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    // More than the pipes on the way hold, so that both directions must flow at once.
    let mut writer = socket.connection().socket().try_clone().unwrap();
    let frames: Vec<u8> = input
        .chunks(50_000)
        .flat_map(|part| [frame_head(0x80 | BINARY, part.len() as u64 + 1), vec![0], part.to_vec()].concat())
        .collect();
    let feeder = std::thread::spawn(move || writer.write_all(&frames));
    let mut got = Vec::new();
    while got.len() < input.len() {
        match socket.next() {
            Some(Message::Binary(bytes)) => got.extend_from_slice(&bytes[1..]),
            Some(Message::Text(value)) if value["type"] == "started" => {}
            other => panic!("{other:?} after {} bytes", got.len()),
        }
    }
    feeder.join().unwrap().unwrap();
    socket.json(&json!({ "type": "eof" }));
    let (exit, stdout, stderr) = socket.read_to_exit();
    assert!(stdout.is_empty() && got == input, "{} bytes of {}", got.len(), input.len());
    assert_eq!((&exit["result"]["exit_code"], &stderr[..]), (&json!(3), &b"end\n"[..]));
}
