//! Detached commands and their logs.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::bench::{Bench, Reply};
use crate::streaming::{events, frames};

async fn start(bench: &Bench, script: &str) -> String {
    let reply = bench.post("/sandboxes/one/execs", json!({"command": ["sh", "-c", script]})).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    let location = reply.headers[header::LOCATION].to_str().unwrap().to_owned();
    let data = reply.data();
    assert_eq!(location, format!("/sandboxes/one/execs/{}", data["id"].as_str().unwrap()));
    location
}

async fn logs(bench: &Bench, location: &str, query: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::get(format!("{location}/logs{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    bench.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_detached_command_is_seen_and_killed() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let location = start(&bench, "sleep 600").await;
    let info = bench.get(&location).await.data();
    assert_eq!((&info["status"], &info["detached"]), (&json!("running"), &json!(true)));
    assert_eq!(bench.get("/sandboxes/one/execs").await.data().as_array().unwrap().len(), 1);
    assert_eq!(
        bench.post(&format!("{location}/kill"), json!({"signal": "TERM"})).await.data(),
        "Signal sent"
    );
    let end = logs(&bench, &location, "?follow=true", &[("accept", "text/event-stream")]).await;
    let (_, name, data) = events(end.text()).pop().unwrap();
    assert_eq!((name.as_str(), &data["exit_code"]), ("done", &json!(143)));
    bench
        .post(&format!("{location}/kill"), json!({"signal": "nonsense"}))
        .await
        .assert_refused(400, "invalid");
    bench.get("/sandboxes/one/execs/nosuch").await.assert_refused(404, "not_found");
    logs(&bench, "/sandboxes/one/execs/nosuch", "", &[]).await.assert_refused(404, "not_found");
}

#[tokio::test]
async fn a_log_is_read_from_any_byte_on() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let location = start(&bench, "echo hello; echo oops >&2").await;
    let whole = logs(&bench, &location, "?follow=true", &[]).await;
    assert_eq!(whole.headers[header::CONTENT_TYPE], "application/octet-stream");
    assert_eq!(whole.headers["agentkernel-log-start"], "0");
    assert_eq!(whole.text().len(), 11);
    let rest = logs(&bench, &location, "?offset=4&follow=true", &[]).await;
    assert_eq!(rest.headers["agentkernel-log-start"], "4");
    assert_eq!(rest.body, whole.body[4..]);
    let framed = logs(&bench, &location, "", &[("accept", "application/vnd.agentkernel.frames")]).await;
    let frames = frames(&framed.body);
    assert_eq!(frames.last().unwrap().0, 3);
    let info: Value = serde_json::from_slice(&frames.last().unwrap().1).unwrap();
    assert_eq!(info["exit_code"], 0);
    let stderr: Vec<u8> =
        frames.iter().filter(|frame| frame.0 == 2).flat_map(|frame| frame.1.clone()).collect();
    assert_eq!(stderr, b"oops\n");
}

#[tokio::test]
async fn a_follower_that_is_cut_off_goes_on_exactly_where_it_was() {
    let fake = agentkernel_testkit::fake::FakeBackend::new().with_chunk_sizes(&[7, 1, 3]);
    let bench = Bench::with(fake, Default::default());
    bench.sandbox("one").await;
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo \"out € $i\"; echo \"err 😀 $i\" >&2; done";
    let location = start(&bench, script).await;
    let accept = ("accept", "text/event-stream");
    let whole = logs(&bench, &location, "?follow=true", &[accept]).await;
    let all = events(whole.text());
    let outputs: Vec<_> = all.iter().filter(|event| event.1 == "output").collect();
    let text = |events: &[&(Option<String>, String, Value)], stream: &str| -> Vec<u8> {
        use base64::Engine;
        let of = events.iter().filter(|event| event.2["stream"] == stream);
        of.flat_map(|event| {
            let data = event.2["data"].as_str().unwrap();
            match event.2["encoding"].as_str().unwrap() {
                "base64" => base64::engine::general_purpose::STANDARD.decode(data).unwrap(),
                _ => data.as_bytes().to_vec(),
            }
        })
        .collect()
    };
    let expected: String = (1..=9).map(|i| format!("out € {i}\n")).collect();
    assert_eq!(String::from_utf8(text(&outputs, "stdout")).unwrap(), expected);
    for (index, event) in outputs.iter().enumerate() {
        let id = event.0.as_deref().unwrap();
        let resumed =
            logs(&bench, &location, "?follow=true&offset=1", &[accept, ("last-event-id", id)]).await;
        let rest = events(resumed.text());
        let rest: Vec<_> = rest.iter().filter(|event| event.1 == "output").collect();
        for stream in ["stdout", "stderr"] {
            let mut sent = text(&outputs[..=index], stream);
            sent.extend(text(&rest, stream));
            assert_eq!(sent, text(&outputs, stream), "cut after event {id}");
        }
    }
}

#[tokio::test]
async fn what_is_no_longer_kept_is_said() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let request = json!({"command": ["sh", "-c", "seq 1 20000"], "log_bytes": 8192});
    let reply = bench.post("/sandboxes/one/execs", request).await;
    let location = reply.headers[header::LOCATION].to_str().unwrap().to_owned();
    let waited = logs(&bench, &location, "?follow=true", &[("accept", "text/event-stream")]).await;
    assert!(waited.text().contains("event: done"));
    let reply = logs(&bench, &location, "", &[("accept", "text/event-stream")]).await;
    let all = events(reply.text());
    assert_eq!(all[0].1, "dropped");
    let bytes = all[0].2["bytes"].as_u64().unwrap();
    assert_eq!(all[0].0.as_deref(), Some(bytes.to_string().as_str()));
    let whole: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    let kept: String = all
        .iter()
        .filter(|event| event.1 == "output")
        .map(|event| event.2["data"].as_str().unwrap())
        .collect();
    assert_eq!(kept, whole[bytes as usize..]);
}
