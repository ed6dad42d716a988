//! Output leaves as it is produced, by every way of asking; server-wide events resume where they were left.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::connection::Connection;
use crate::event_stream::{Event, Events, FrameKind, next_frame, output_bytes};
use crate::place::Place;
use crate::process::PATIENCE;
use crate::server::Server;
use crate::web_socket::WebSocket;

const FRAMES: &str = "application/vnd.agentkernel.frames";
const EVENTS: &str = "text/event-stream";

/// Says its second word only after somebody, who has seen the first, has written a file: no clock is needed to see that
/// the first did not wait for the end.
fn two_words() -> Value {
    json!({ "command": ["sh", "-c", "rm -f /tmp/go; echo first; until [ -e /tmp/go ]; do sleep 0.02; done; echo second"] })
}

fn go(server: &Server) {
    let target = "/sandboxes/box/files/tmp/go";
    server.ask("PUT", target, &[("Content-Type", "application/octet-stream")], b"").data();
}

#[test]
fn events_of_a_command_come_as_they_happen() {
    let Some(place) = Place::new("streamed events") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let mut connection = server.begin("/sandboxes/box/exec/stream", EVENTS, &two_words());
    let head = connection.head().unwrap();
    assert_eq!((head.status, head.header("content-type")), (200, Some(EVENTS)));
    assert_eq!(head.header("cache-control").map(|value| value.contains("no-")), Some(true));
    let mut events = Events::new(connection.body(&head));
    assert_eq!(events.next().unwrap().kind, "started");
    let first = events.find(|event| event.kind == "output").unwrap();
    assert_eq!(output_bytes(&first.data), b"first\n");
    go(&server);
    let rest: Vec<Event> = events.collect();
    assert_eq!(output_bytes(&rest[0].data), b"second\n");
    let last = rest.last().unwrap();
    assert_eq!((&last.kind[..], &last.data["exit_code"]), ("done", &json!(0)));
}

#[test]
fn frames_of_a_command_come_as_they_happen() {
    let Some(place) = Place::new("streamed frames") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let mut connection = server.begin("/sandboxes/box/exec", FRAMES, &two_words());
    let head = connection.head().unwrap();
    assert_eq!((head.status, head.header("content-type")), (200, Some(FRAMES)));
    let mut body = connection.body(&head);
    let first = next_frame(&mut body).unwrap();
    assert_eq!((first.kind, &first.payload[..]), (FrameKind::Stdout, &b"first\n"[..]));
    go(&server);
    let second = next_frame(&mut body).unwrap();
    assert_eq!((second.kind, &second.payload[..]), (FrameKind::Stdout, &b"second\n"[..]));
    let end = next_frame(&mut body).unwrap();
    assert_eq!(end.kind, FrameKind::End);
    let result: Value = serde_json::from_slice(&end.payload).unwrap();
    assert_eq!((&result["exit_code"], &result["stdout"]), (&json!(0), &json!("")));
    assert!(next_frame(&mut body).is_none());
}

#[test]
fn messages_of_a_command_come_as_they_happen() {
    let Some(place) = Place::new("streamed messages") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let host = server.host();
    let mut socket =
        WebSocket::open(&server.door, "/sandboxes/box/exec/connect", &[("Host", &host)]).unwrap();
    socket.json(&json!({ "type": "exec", "exec": two_words() }));
    socket.read_until("first\n");
    go(&server);
    let (exit, stdout, _) = socket.read_to_exit();
    assert_eq!((&exit["result"]["exit_code"], &stdout[..]), (&json!(0), &b"second\n"[..]));
}

/// A box of its own can't be told anything: the pause must show in the arrival.
#[test]
fn a_run_is_streamed_too() {
    let Some(place) = Place::new("streamed runs") else { return };
    let server = Server::start(&place);
    let body = json!({ "command": ["sh", "-c", "echo 1; sleep 3; echo 2"] });
    let begun = Instant::now();
    let mut connection = server.begin("/run/stream", EVENTS, &body);
    let head = connection.head().unwrap();
    let outputs = Events::new(connection.body(&head)).filter(|event| event.kind == "output");
    let times: Vec<Duration> = outputs.map(|_| begun.elapsed()).collect();
    assert!(times.len() == 2 && times[1] - times[0] > Duration::from_secs(2), "{times:?}");
    let mut connection = server.begin("/run", FRAMES, &body);
    let head = connection.head().unwrap();
    let mut body = connection.body(&head);
    next_frame(&mut body).unwrap();
    let first = Instant::now();
    next_frame(&mut body).unwrap();
    assert!(first.elapsed() > Duration::from_secs(2), "{:?}", first.elapsed());
}

#[test]
fn streams_are_exact_apart_and_whole() {
    let Some(place) = Place::new("streamed bytes") else { return };
    let server = Server::start(&place);
    let script = r"printf 'out\000\377\303'; printf 'err\001\376' >&2; sleep 0.1; printf '\244'; exit 7";
    let body = json!({ "command": ["sh", "-c", script] });
    let mut connection = server.begin("/run/stream", EVENTS, &body);
    let head = connection.head().unwrap();
    let events: Vec<Event> = Events::new(connection.body(&head)).collect();
    let of = |stream: &str| -> Vec<u8> {
        let mine = events.iter().filter(|event| event.data["stream"] == stream);
        mine.flat_map(|event| output_bytes(&event.data)).collect()
    };
    assert_eq!(of("stdout"), b"out\0\xff\xc3\xa4");
    assert_eq!(of("stderr"), b"err\x01\xfe");
    let done = events.last().unwrap();
    assert_eq!((&done.data["exit_code"], &done.data["success"]), (&json!(7), &json!(false)));

    let megabytes = 64;
    let body = json!({ "command": ["head", "-c", (megabytes << 20).to_string(), "/dev/zero"] });
    let mut connection = server.begin("/run", FRAMES, &body);
    let head = connection.head().unwrap();
    let (mut total, mut ended) = (0, false);
    let mut body = connection.body(&head);
    while let Some(frame) = next_frame(&mut body) {
        ended = frame.kind == FrameKind::End;
        total += if frame.kind == FrameKind::Stdout { frame.payload.len() } else { 0 };
    }
    assert!(ended && total == megabytes << 20, "{total}");
    let peak = crate::process::peak_kib(server.pid());
    assert!(peak < 160 * 1024, "the server grew to {peak} KiB");
}

#[test]
fn a_result_tells_all_that_version_0_4_did_not() {
    let Some(place) = Place::new("results") else { return };
    let server = Server::start(&place);
    let script = "read line; echo \"$line $A $PWD\"; echo oops >&2; exit 5";
    let body = json!({
        "command": ["sh", "-c", script], "stdin": "aGkK", "stdin_encoding": "base64", "env": { "A": "b" }, "workdir": "/tmp",
    });
    let data = server.post("/run", &body).data();
    assert_eq!((&data["stdout"], &data["stderr"]), (&json!("hi b /tmp\n"), &json!("oops\n")), "{data}");
    assert_eq!((&data["exit_code"], &data["timed_out"]), (&json!(5), &json!(false)));
    assert_eq!(
        (&data["backend"], &data["isolation"]["boundary"]),
        (&json!("native"), &json!("shared-kernel"))
    );
    let run = |body: Value| server.post("/run", &body).data();
    let data = run(json!({ "command": ["sh", "-c", r"printf '\377'"], "encoding": "base64" }));
    assert_eq!((&data["stdout"], &data["encoding"]), (&json!("/w=="), &json!("base64")));
    let data = run(json!({ "command": ["no-such-program"] }));
    assert_eq!((&data["exit_code"], &data["error"]["kind"]), (&json!(127), &json!("not_found")));
    let data = run(json!({ "command": ["/etc"] }));
    assert_eq!((&data["exit_code"], &data["error"]["kind"]), (&json!(126), &json!("not_executable")));
    let data = run(json!({ "command": ["sh", "-c", "kill -9 $$"] }));
    assert_eq!((&data["exit_code"], &data["signal"]), (&json!(137), &json!("SIGKILL")));
    let data = run(json!({ "command": ["sleep", "1000"], "timeout_ms": 200 }));
    assert_eq!((&data["exit_code"], &data["timed_out"]), (&json!(124), &json!(true)));
    let data = run(json!({ "command": ["head", "-c", "100000", "/dev/zero"], "max_output_bytes": 1000 }));
    assert_eq!(
        (data["stdout"].as_str().map(str::len), &data["stdout_truncated"]),
        (Some(1000), &json!(true))
    );
}

/// The next event of this kind.
fn wait_for(events: &mut Events<impl Read>, kind: &str) -> Event {
    let begun = Instant::now();
    for event in events {
        if event.data["kind"] == kind {
            return event;
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    panic!("the events ended before {kind}");
}

#[test]
fn events_of_the_server_resume_where_they_were_left() {
    let Some(place) = Place::new("events of the server") else { return };
    let server = Server::start(&place);
    let subscribe = |last: Option<&str>| -> Connection {
        let mut headers = vec![("Accept", EVENTS)];
        headers.extend(last.map(|last| ("Last-Event-ID", last)));
        let mut connection = server.connect();
        connection.send(&server.bytes("GET", "/events", &headers, b"")).unwrap();
        connection
    };
    let mut connection = subscribe(None);
    let head = connection.head().unwrap();
    assert_eq!(head.status, 200);
    server.sandbox("box");
    let created = wait_for(&mut Events::new(connection.body(&head)), "sandbox_created");
    assert_eq!(created.data["sandbox"], "box");
    drop(connection);
    server.delete("/sandboxes/box").data();
    let id = created.id.unwrap();
    let mut connection = subscribe(Some(&id));
    let head = connection.head().unwrap();
    let mut events = Events::new(connection.body(&head));
    let next = events.next().unwrap();
    assert_eq!(
        next.id.unwrap().parse::<u64>().unwrap(),
        id.parse::<u64>().unwrap() + 1,
        "none lost or doubled"
    );
    let removed = if next.data["kind"] == "sandbox_removed" {
        next.data
    } else {
        wait_for(&mut events, "sandbox_removed").data
    };
    assert_eq!(removed["sandbox"], "box");
}
