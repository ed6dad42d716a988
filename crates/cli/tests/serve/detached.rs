//! The output of detached commands: read again from any offset, whoever was killed in between.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::event_stream::{Event, Events, output_bytes};
use crate::lab::shown;
use crate::place::{Place, script};
use crate::process::{sleeps, wait_until};
use crate::server::Server;

/// Numbers of nine digits, each on a line: 1 GiB but for four bytes. Any byte lost, doubled or moved changes the digest.
const NUMBERS: [&str; 3] = ["seq", "100000000", "207374181"];
const LENGTH: u64 = 1_073_741_820;
/// Room for all of it, headers included.
const ROOM: &str = "[api.limits]\ndetached_log = 2048\n";

fn digest(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// A process of its own that appends the log to `file`.
fn follow(server: &Server, log: &str, file: &Path) -> Option<Child> {
    let mut python = Command::new("python3");
    python.arg(script("detached_client.py"));
    python.args([server.address().ip().to_string(), server.address().port().to_string(), log.to_owned()]);
    match python.arg(file).stderr(Stdio::null()).spawn() {
        Ok(child) => Some(child),
        Err(error) => {
            println!("SKIPPED: killed clients: python3: {error}");
            None
        }
    }
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

#[test]
fn a_gigabyte_survives_killed_clients_and_a_killed_server() {
    let Some(place) = Place::new("killed clients") else { return };
    place.configure(ROOM);
    let mut server = Server::start(&place);
    server.sandbox("box");
    let started = server.post("/sandboxes/box/execs", &json!({ "command": NUMBERS })).data();
    let log = format!("/sandboxes/box/execs/{}/logs", started["id"].as_str().unwrap());
    let file = place.path("followed");
    for (until, whom) in [(100 << 20, "client"), (300 << 20, "client"), (600 << 20, "server")] {
        let Some(mut client) = follow(&server, &log, &file) else { return };
        wait_until("some of the output", || length(&file) > until);
        if whom == "server" {
            server.kill();
            // Its clients end by themselves.
            client.wait().unwrap();
            server = Server::start(&place);
        } else {
            client.kill().unwrap();
            client.wait().unwrap();
        }
    }
    let mut client = follow(&server, &log, &file).unwrap();
    assert!(client.wait().unwrap().success());
    assert_eq!(length(&file), LENGTH);
    let expected = digest(&format!("{} | sha256sum", NUMBERS.join(" ")));
    assert_eq!(digest(&format!("sha256sum < {}", file.display())), expected);
}

/// `count` events of the log from behind `last`.
fn events(server: &Server, log: &str, last: Option<&str>, count: usize) -> Vec<Event> {
    let mut headers = vec![("Accept", "text/event-stream")];
    headers.extend(last.map(|last| ("Last-Event-ID", last)));
    let mut connection = server.connect();
    connection.send(&server.bytes("GET", &format!("{log}?follow=true"), &headers, b"")).unwrap();
    let head = connection.head().unwrap();
    assert_eq!(head.status, 200);
    let all =
        Events::new(connection.body(&head)).filter(|event| ["output", "done"].contains(&&event.kind[..]));
    all.take(count).collect()
}

#[test]
fn event_ids_resume_a_log_exactly() {
    let Some(place) = Place::new("logs by event id") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let script = "for n in 1 2 3 4 5 6 7 8 9; do echo out $n; echo err $n >&2; sleep 0.02; done; exit 4";
    let started = server.post("/sandboxes/box/execs", &json!({ "command": ["sh", "-c", script] })).data();
    let log = format!("/sandboxes/box/execs/{}/logs", started["id"].as_str().unwrap());
    let (mut stdout, mut stderr, mut last) = (Vec::new(), Vec::new(), None);
    let begun = Instant::now();
    // A connection for each event.
    let done = loop {
        let event = events(&server, &log, last.as_deref(), 1).pop().unwrap();
        if event.kind == "done" {
            break event.data;
        }
        let stream = if event.data["stream"] == "stderr" { &mut stderr } else { &mut stdout };
        stream.extend(output_bytes(&event.data));
        last = Some(event.id.unwrap());
        assert!(begun.elapsed() < Duration::from_secs(60));
    };
    let lines = |word: &str| (1..10).map(|n| format!("{word} {n}\n")).collect::<String>();
    assert_eq!(
        (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap()),
        (lines("out"), lines("err"))
    );
    assert_eq!(done["exit_code"], 4);
}

#[test]
fn a_log_that_is_full_says_where_it_begins() {
    let Some(place) = Place::new("full logs") else { return };
    place.configure("[api.limits]\ndetached_log = 1\n");
    let server = Server::start(&place);
    server.sandbox("box");
    let body = json!({ "command": ["sh", "-c", "seq 1000000 1399999"] });
    let started = server.post("/sandboxes/box/execs", &body).data();
    let target = format!("/sandboxes/box/execs/{}", started["id"].as_str().unwrap());
    wait_until("its end", || server.get(&target).data()["status"] == "ended");
    let all: String = (1_000_000..1_400_000).map(|n| format!("{n}\n")).collect();
    let answer =
        server.ask("GET", &format!("{target}/logs?offset=0"), &[("Accept", "application/octet-stream")], b"");
    let start: usize = answer.head.header("agentkernel-log-start").unwrap().parse().unwrap();
    assert!(start > 0, "some was dropped");
    assert!(answer.text() == all[start..], "{} bytes from {start} on", answer.body.len());
}

#[test]
fn commands_in_the_background_are_listed_and_killed() {
    let Some(place) = Place::new("commands in the background") else { return };
    let server = Server::start(&place);
    server.sandbox("box");
    let mark = crate::process::mark();
    let started = server.post("/sandboxes/box/execs", &json!({ "command": ["sleep", mark] })).data();
    let of = |id: &Value| {
        let all = server.get("/sandboxes/box/execs").data();
        all.as_array().unwrap().iter().find(|execution| execution["id"] == *id).cloned().unwrap()
    };
    wait_until("the command to run", || sleeps(&mark));
    let info = of(&started["id"]);
    assert_eq!((&info["status"], &info["command"]), (&json!("running"), &json!(["sleep", mark])));
    let kill = format!("/sandboxes/box/execs/{}/kill", started["id"].as_str().unwrap());
    assert_eq!(server.post(&kill, &json!({ "signal": "NOPE" })).refusal(), (400, "invalid".to_owned()));
    server.post(&kill, &json!({ "signal": "TERM" })).data();
    wait_until("its end", || of(&started["id"])["exit_code"] == 143);
    assert_eq!(server.get("/sandboxes/box/execs/nobody").refusal().0, 404);
}
