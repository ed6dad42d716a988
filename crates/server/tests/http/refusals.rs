//! Requests that are not served, each with its status and code in the envelope.

use agentkernel_service::Limits;
use agentkernel_testkit::fake::FakeBackend;
use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::json;

use crate::bench::{Bench, post};

async fn typed(bench: &Bench, media_type: Option<&str>, body: &str) -> crate::bench::Reply {
    let mut request = Request::post("/run");
    if let Some(media_type) = media_type {
        request = request.header(header::CONTENT_TYPE, media_type);
    }
    bench.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn what_a_browser_s_form_can_send_runs_nothing() {
    let bench = Bench::new();
    let command = r#"{"image":"host","command":["true"]}"#;
    for media_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("text/plain; application/json"),
    ] {
        typed(&bench, media_type, command).await.assert_refused(415, "unsupported_media_type");
    }
    assert!(bench.fake.launched().is_empty());
    typed(&bench, Some("application/json; charset=utf-8"), command).await.data();
}

#[tokio::test]
async fn json_is_read_strictly() {
    let bench = Bench::new();
    for (body, code) in [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("nonsense", "invalid_json"),
        (r#"{"command":["true"]} {}"#, "invalid_json"),
        (r#"{"command":"true"}"#, "invalid"),
        (r#"{"command":["true"],"comand":1}"#, "invalid"),
        (r#"{"command":["true"],"timeout_ms":-1}"#, "invalid"),
        (r#"{"command":["true"],"command":["false"]}"#, "invalid"),
    ] {
        typed(&bench, Some("application/json"), body).await.assert_refused(400, code);
    }
    let message = typed(&bench, Some("application/json"), "{").await.assert_refused(400, "invalid_json");
    assert!(message.starts_with("Invalid JSON: "), "{message}");
    let deep = format!(r#"{{"command":["true"],"env":{}}}"#, "[".repeat(100_000));
    assert_eq!(typed(&bench, Some("application/json"), &deep).await.status, 400);
    assert!(bench.fake.launched().is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let bench = Bench::with(FakeBackend::new(), Limits { max_body_bytes: 1000, ..Limits::default() });
    let body = json!({"image": "host", "command": ["echo", "x".repeat(1000)]}).to_string();
    typed(&bench, Some("application/json"), &body).await.assert_refused(413, "too_large");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_apart() {
    let bench = Bench::new();
    for path in ["/", "/nothing", "/sandboxes/a/b", "/run/", "/sandboxes/one/files/"] {
        bench.get(path).await.assert_refused(404, "not_found");
    }
    let cases = [
        (Method::GET, "/run", "POST"),
        (Method::PATCH, "/sandboxes", "GET,HEAD,POST"),
        (Method::OPTIONS, "/sandboxes/a", "GET,HEAD,DELETE"),
        (Method::POST, "/sandboxes/a/files/tmp/x", "GET,HEAD,PUT,DELETE"),
    ];
    for (method, path, allowed) in cases {
        let reply =
            bench.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await;
        reply.assert_refused(405, "method_not_allowed");
        let mut found: Vec<&str> = reply.headers[header::ALLOW].to_str().unwrap().split(',').collect();
        let mut wanted: Vec<&str> = allowed.split(',').collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{path}");
    }
}

#[tokio::test]
async fn unknown_and_wrong_query_parameters_are_refused() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    for path in [
        "/health?x=1",
        "/sandboxes?labels=a",
        "/sandboxes?label=%3Db",
        "/audit?limit=0",
        "/audit?limit=x",
        "/audit?limit=1&limit=2",
        "/sandboxes/one/stat",
        "/sandboxes/one/execs/abc/logs?follow=maybe",
        "/sandboxes/one/execs/abc/logs?offset=-1",
        "/sandboxes/one/execs/abc/logs?encoding=latin1",
    ] {
        bench.get(path).await.assert_refused(400, "invalid");
    }
}

#[tokio::test]
async fn names_and_formats_are_checked_before_anything_is_asked() {
    let bench = Bench::new();
    for path in
        ["/sandboxes/a%20b", "/sandboxes/-a", "/sandboxes/a.b", "/sandboxes/%2e%2e/ports", "/sandboxes/%00"]
    {
        bench.get(path).await.assert_refused(400, "invalid");
    }
    bench.get("/sandboxes/one/ports/0").await.assert_refused(400, "invalid");
    bench.get("/sandboxes/one/ports/65536").await.assert_refused(400, "invalid");
    bench.get("/sandboxes/one/exec/connect").await.assert_refused(400, "invalid");
    let body = json!({"image": "host", "command": ["true"]});
    bench.send(post("/run", &body, "image/png")).await.assert_refused(406, "not_acceptable");
    bench.send(post("/run/stream", &body, "text/html;q=0.3")).await.assert_refused(406, "not_acceptable");
}

#[tokio::test]
async fn a_server_that_goes_down_says_so() {
    let bench = Bench::new();
    bench.service.begin_shutdown();
    let refused = bench.post("/run", json!({"image": "host", "command": ["true"]})).await;
    refused.assert_refused(503, "shutting_down");
}
