//! Output as it is made: events and frames.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::bench::{Bench, post};

/// The events of a body: `id`, name, data.
pub(crate) fn events(text: &str) -> Vec<(Option<String>, String, Value)> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    let parse = |block: &str| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let data = field("data: ").unwrap_or_else(|| panic!("no data: {block}"));
        (field("id: "), field("event: ").unwrap(), serde_json::from_str(&data).unwrap())
    };
    blocks.map(parse).collect()
}

/// The frames of a body: kind and content.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[1..4], [0; 3]);
        let length = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
        frames.push((bytes[0], bytes[8..8 + length].to_vec()));
        bytes = &bytes[8 + length..];
    }
    frames
}

fn sh(script: &str) -> Value {
    json!({"image": "host", "command": ["sh", "-c", script]})
}

#[tokio::test]
async fn a_streamed_run_is_the_events_of_v04_in_their_order() {
    let bench = Bench::new();
    let reply =
        bench.send(post("/run/stream", &sh("echo out; echo err >&2; exit 3"), "text/event-stream")).await;
    assert_eq!(reply.headers[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
    let events = events(reply.text());
    let names: Vec<&str> = events.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["started", "progress", "progress"]);
    assert_eq!(events[0].2["command"], json!(["sh", "-c", "echo out; echo err >&2; exit 3"]));
    assert_eq!(events[0].2["fast"], false);
    assert_eq!(events[1].2["stage"], "sandbox_created");
    let output = |stream: &str| -> String {
        let of = events.iter().filter(|(_, name, data)| name == "output" && data["stream"] == stream);
        of.map(|(_, _, data)| {
            assert_eq!(data["data"], data["content"]);
            data["data"].as_str().unwrap().to_owned()
        })
        .collect()
    };
    assert_eq!((output("stdout"), output("stderr")), ("out\n".to_owned(), "err\n".to_owned()));
    let (_, last, data) = events.last().unwrap();
    assert_eq!(last, "done");
    assert_eq!((&data["exit_code"], &data["success"]), (&json!(3), &json!(false)));
    assert_eq!(data["result"]["stdout"], "");
    bench.idle().await;
}

#[tokio::test]
async fn characters_are_whole_however_the_box_cuts_them() {
    let fake = agentkernel_testkit::fake::FakeBackend::new().with_chunk_sizes(&[1]);
    let bench = Bench::with(fake, Default::default());
    let reply =
        bench.send(post("/run/stream", &json!({"image": "host", "command": ["echo", "a€😀"]}), "*/*")).await;
    let events = events(reply.text());
    let output: Vec<&Value> =
        events.iter().filter(|event| event.1 == "output").map(|event| &event.2).collect();
    assert!(output.iter().all(|data| data["encoding"] == "utf8"), "{output:?}");
    let text: String = output.iter().map(|data| data["data"].as_str().unwrap()).collect();
    assert_eq!(text, "a€😀\n");
}

#[tokio::test]
async fn output_leaves_at_once() {
    let bench = Bench::new();
    let response =
        bench.router.clone().oneshot(post("/run/stream", &sh("echo now; sleep 600"), "*/*")).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let first_output = async {
        let mut text = String::new();
        while !text.contains("event: output") {
            text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(20), first_output).await.unwrap();
    // A body that nobody wants any more is a client that has gone.
    drop(body);
    bench.idle().await;
}

#[tokio::test]
async fn frames_carry_every_byte() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let command = json!({"command": ["sh", "-c", "seq 1 20000; echo err >&2; exit 9"]});
    for path in ["/sandboxes/one/exec", "/sandboxes/one/exec/stream"] {
        let reply = bench.send(post(path, &command, "application/vnd.agentkernel.frames")).await;
        assert_eq!(reply.headers[header::CONTENT_TYPE], "application/vnd.agentkernel.frames");
        let frames = frames(&reply.body);
        let of = |kind: u8| -> Vec<u8> {
            frames.iter().filter(|frame| frame.0 == kind).flat_map(|frame| frame.1.clone()).collect()
        };
        let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
        assert!(of(1) == expected.as_bytes());
        assert_eq!(of(2), b"err\n");
        let (kind, end) = frames.last().unwrap();
        assert_eq!(*kind, 3);
        assert_eq!(serde_json::from_slice::<Value>(end).unwrap()["exit_code"], 9);
    }
}

#[tokio::test]
async fn what_can_not_be_started_has_its_status_and_not_a_stream() {
    let bench = Bench::new();
    let request = json!({"image": "host", "command": ["true"], "profile": "nonsense"});
    bench.send(post("/run/stream", &request, "text/event-stream")).await.assert_refused(400, "invalid");
    let missing = json!({"image": "host", "command": ["no-such-program"]});
    let reply = bench.send(post("/run/stream", &missing, "*/*")).await;
    let (_, name, data) = events(reply.text()).pop().unwrap();
    assert_eq!((name.as_str(), &data["exit_code"]), ("done", &json!(127)));
}

#[tokio::test]
async fn a_box_that_is_killed_is_the_last_word() {
    let bench = Bench::new();
    let response =
        bench.router.clone().oneshot(post("/run/stream", &sh("echo a; sleep 600"), "*/*")).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    while !text.contains("event: output") {
        text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    for object in bench.fake.objects() {
        if let Some(id) = object.rsplit(' ').next() {
            bench.fake.end_box(id);
        }
    }
    while let Some(bytes) = body.next().await {
        text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
    }
    let (_, name, data) = events(&text).pop().unwrap();
    assert_eq!((name.as_str(), &data["exit_code"]), ("done", &json!(137)), "{text}");
}

#[tokio::test]
async fn events_of_the_server_are_followed_and_resumed() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    bench.delete("/sandboxes/one").await;
    let request =
        Request::get("/events?follow=false").header("Last-Event-ID", "1").body(Body::empty()).unwrap();
    let so_far = bench.send(request).await;
    let so_far: Vec<String> = events(so_far.text()).into_iter().map(|event| event.1).collect();
    assert_eq!(so_far, ["sandbox_started", "sandbox_removed"]);
    assert!(events(bench.get("/events?follow=false").await.text()).is_empty(), "from now on, and no longer");
    bench.get("/events?follow=perhaps").await.assert_refused(400, "invalid");
    bench.service.begin_shutdown();
    let request = Request::get("/events").header("Last-Event-ID", "0").body(Body::empty()).unwrap();
    // The stream ends with the server.
    let reply = bench.send(request).await;
    let all = events(reply.text());
    let names: Vec<&str> = all.iter().map(|event| event.1.as_str()).collect();
    assert_eq!(names, ["sandbox_created", "sandbox_started", "sandbox_removed", "shutting_down"]);
    assert_eq!(all[0].0.as_deref(), Some("1"));
    assert_eq!(all[0].2["sandbox"], "one");
    let request = Request::get("/events").header("Last-Event-ID", "2").body(Body::empty()).unwrap();
    assert_eq!(events(bench.send(request).await.text()).len(), 2);
    let request = Request::get("/events").header("Last-Event-ID", "x").body(Body::empty()).unwrap();
    bench.send(request).await.assert_refused(400, "invalid");
}
