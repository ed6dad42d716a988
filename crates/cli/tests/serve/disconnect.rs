//! A client that goes away takes its command with it, by whatever way it asked; what was detached stays.

use serde_json::{Value, json};

use crate::connection::Connection;
use crate::place::Place;
use crate::process::{mark, sleeps, wait_until};
use crate::server::Server;
use crate::web_socket::{Message, WebSocket};

const WAYS: [(&str, &str); 6] = [
    ("/run", "application/json"),
    ("/run", "application/vnd.agentkernel.frames"),
    ("/run/stream", "text/event-stream"),
    ("/sandboxes/box/exec", "application/json"),
    ("/sandboxes/box/exec", "application/vnd.agentkernel.frames"),
    ("/sandboxes/box/exec/stream", "text/event-stream"),
];

/// In the background of its shell, so that only its whole process tree takes it along.
fn sleeping(mark: &str) -> Value {
    json!({ "command": ["sh", "-c", format!("sleep {mark} & wait")] })
}

#[test]
fn a_client_that_leaves_ends_its_command() {
    let Some(place) = Place::new("clients that leave") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let begun: Vec<(String, Connection)> = WAYS
        .iter()
        .map(|(target, accept)| {
            let mark = mark();
            let connection = server.begin(target, accept, &sleeping(&mark));
            (mark, connection)
        })
        .collect();
    for (mark, connection) in begun {
        wait_until("the command to run", || sleeps(&mark));
        drop(connection);
        wait_until("the command to end with its client", || !sleeps(&mark));
    }
}

#[test]
fn a_web_socket_that_closes_ends_its_command() {
    let Some(place) = Place::new("WebSockets that close") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let host = server.host();
    for politely in [true, false] {
        let mark = mark();
        let mut socket =
            WebSocket::open(&server.door, "/sandboxes/box/exec/connect", &[("Host", &host)]).unwrap();
        socket.json(&json!({ "type": "exec", "exec": sleeping(&mark) }));
        assert!(matches!(socket.next(), Some(Message::Text(value)) if value["type"] == "started"));
        wait_until("the command to run", || sleeps(&mark));
        if politely {
            socket.frame(crate::web_socket::CLOSE, &[0x03, 0xe8]).unwrap();
        }
        drop(socket);
        wait_until("the command to end with its client", || !sleeps(&mark));
    }
}

#[test]
fn a_detached_command_outlives_its_client() {
    let Some(place) = Place::new("detached commands") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    let mark = mark();
    let started = server.post("/sandboxes/box/execs", &sleeping(&mark));
    assert_eq!(started.status(), 201);
    let started = started.data();
    wait_until("the command to run", || sleeps(&mark));
    // Whatever else ends: other clients, and the server itself.
    drop(server.begin("/sandboxes/box/exec", "application/json", &json!({ "command": ["sleep", "1000"] })));
    server.kill();
    let server = Server::start(&place);
    assert!(sleeps(&mark));
    let target = format!("/sandboxes/box/execs/{}", started["id"].as_str().unwrap());
    let info = server.get(&target).data();
    assert_eq!((&info["status"], &info["detached"]), (&json!("running"), &json!(true)));
    server.post(&format!("{target}/kill"), &json!({ "signal": "SIGKILL" })).data();
    wait_until("the command to be killed", || !sleeps(&mark));
    wait_until("its end to be known", || server.get(&target).data()["status"] == "ended");
    let info = server.get(&target).data();
    assert_eq!((&info["exit_code"], &info["signal"]), (&json!(137), &json!("SIGKILL")));
}
