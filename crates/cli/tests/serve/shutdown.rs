//! A server that is told to end finishes what it has begun, and takes nothing new.

use rustix::process::Signal;
use serde_json::json;

use crate::connection::Connection;
use crate::place::Place;
use crate::process::{mark, sleeps, wait_until};
use crate::server::Server;

#[test]
fn commands_that_run_are_waited_for() {
    let Some(place) = Place::new("a server that ends") else { return };
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&place);
        let body = json!({ "command": ["sh", "-c", "echo before; sleep 2; echo after; exit 6"] });
        let mut json_answer = server.begin("/run", "application/json", &body);
        let mut stream = server.begin("/run/stream", "text/event-stream", &body);
        let head = stream.head().unwrap();
        wait_until("both to run", || server.get("/stats").data()["running"] == 2);
        let mut kept = server.connect();
        assert_eq!(kept.ask(&server.bytes("GET", "/health", &[], b"")).unwrap().status(), 200);
        server.signal(signal);
        // New work is refused on old connections, and there are no new ones.
        let late =
            server.bytes("POST", "/run", &[("Content-Type", "application/json")], br#"{"command":["true"]}"#);
        wait_until("the door to close", || Connection::try_open(&server.door).is_err());
        if let Ok(answer) = kept.ask(&late) {
            assert_eq!(answer.refusal(), (503, "shutting_down".to_owned()));
        }
        let data = json_answer.answer().unwrap().data();
        assert_eq!((&data["output"], &data["exit_code"]), (&json!("before\nafter\n"), &json!(6)));
        let events: Vec<_> = crate::event_stream::Events::new(stream.body(&head)).collect();
        let done = events.last().unwrap();
        assert_eq!((&done.kind[..], &done.data["exit_code"]), ("done", &json!(6)));
        assert_eq!(server.wait(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let Some(place) = Place::new("a server that is told twice") else { return };
    let mut server = Server::start(&place);
    let mark = mark();
    let _connection = server.begin("/run", "application/json", &json!({ "command": ["sleep", mark] }));
    wait_until("the command to run", || sleeps(&mark));
    server.signal(Signal::TERM);
    wait_until("the door to close", || Connection::try_open(&server.door).is_err());
    server.signal(Signal::TERM);
    server.wait();
    wait_until("the command to end", || !sleeps(&mark));
}

/// Sandboxes are not the server's: they stay, and the next server has them.
#[test]
fn sandboxes_outlive_their_server() {
    let Some(place) = Place::new("sandboxes of a server that ends") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    assert_eq!(place.ok(&["exec", "box", "echo", "still here"]), "still here\n");
    let server = Server::start(&place);
    assert_eq!(server.get("/sandboxes/box").data()["status"], "running");
}
