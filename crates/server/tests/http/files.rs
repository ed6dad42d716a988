//! Files, folders and archives.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use crate::bench::{Bench, Reply};

async fn put(bench: &Bench, path: &str, media_type: &str, body: impl Into<Body>) -> Reply {
    let request = Request::put(path).header(header::CONTENT_TYPE, media_type).body(body.into()).unwrap();
    bench.send(request).await
}

async fn raw(bench: &Bench, path: &str) -> Reply {
    let request = Request::get(path).header(header::ACCEPT, "application/octet-stream");
    bench.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_file_goes_in_and_out_in_json_as_with_v04() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let path = "/sandboxes/one/files/tmp/a.txt";
    let reply = put(&bench, path, "application/json", r#"{"content":"h\u00e9\n"}"#).await;
    assert_eq!(reply.text(), r#"{"success":true,"data":"Wrote 4 bytes to /tmp/a.txt"}"#);
    let reply = bench.get(path).await;
    assert_eq!(reply.text(), r#"{"success":true,"data":{"content":"hé\n","encoding":"utf8","size":4}}"#);
    let reply = put(&bench, path, "application/json", r#"{"content":"/w==","encoding":"base64"}"#).await;
    assert_eq!(reply.data(), "Wrote 1 bytes to /tmp/a.txt");
    assert_eq!(bench.get(path).await.data(), json!({"content": "/w==", "encoding": "base64", "size": 1}));
    assert_eq!(bench.delete(path).await.text(), r#"{"success":true,"data":"Deleted /tmp/a.txt"}"#);
    bench.get(path).await.assert_refused(404, "not_found");
}

#[tokio::test]
async fn a_file_goes_in_and_out_as_it_is() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let path = "/sandboxes/one/files/tmp/big%20one%25?mode=0600";
    let reply = put(&bench, path, "application/octet-stream", content.clone()).await;
    assert_eq!(reply.data(), "Wrote 1000000 bytes to /tmp/big one%");
    let reply = raw(&bench, "/sandboxes/one/files//tmp/big%20one%25").await;
    assert_eq!(reply.headers[header::CONTENT_TYPE], "application/octet-stream");
    assert_eq!(reply.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert!(reply.body == content);
    let entry = bench.get("/sandboxes/one/stat?path=/tmp/big+one%25").await.data();
    assert_eq!((&entry["mode"], &entry["size"]), (&json!("0600"), &json!(1_000_000)));
}

#[tokio::test]
async fn folders_are_made_listed_and_removed() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let made = bench.post("/sandboxes/one/mkdir", json!({"path": "/tmp/a/b"})).await;
    assert_eq!(made.data(), "Made /tmp/a/b");
    let list = bench.get("/sandboxes/one/list?path=/tmp/a").await.data();
    assert_eq!((&list[0]["name"], &list[0]["kind"]), (&json!("b"), &json!("directory")));
    assert!(!bench.delete("/sandboxes/one/files/tmp/a").await.status.is_success());
    assert_eq!(bench.delete("/sandboxes/one/files/tmp/a?recursive=true").await.data(), "Deleted /tmp/a");
    bench.get("/sandboxes/one/list?path=/tmp/a").await.assert_refused(404, "not_found");
}

#[tokio::test]
async fn an_archive_goes_out_and_in() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    put(&bench, "/sandboxes/one/files/tmp/a/x", "application/octet-stream", "inside").await.data();
    let archive = raw_tar(&bench).await;
    let reply = put(&bench, "/sandboxes/one/archive?path=/tmp/b", "application/x-tar", archive).await;
    assert_eq!(reply.data(), "Unpacked into /tmp/b");
    assert_eq!(raw(&bench, "/sandboxes/one/files/tmp/b/a/x").await.body, b"inside");
}

async fn raw_tar(bench: &Bench) -> Vec<u8> {
    let reply = bench.get("/sandboxes/one/archive?path=/tmp/a").await;
    assert_eq!(reply.headers[header::CONTENT_TYPE], "application/x-tar");
    reply.body
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_out() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    for path in [
        "/sandboxes/one/files/tmp/../../etc/shadow",
        "/sandboxes/one/files/tmp/%2e%2e/x",
        "/sandboxes/one/files/..%2f..%2fetc",
        "/sandboxes/one/files/a%00b",
        "/sandboxes/one/files/%ff",
        "/sandboxes/one/stat?path=../etc",
        "/sandboxes/one/list?path=/tmp/..",
        "/sandboxes/one/stat?path=%ff",
        "/sandboxes/%2e%2e/files/x",
    ] {
        bench.get(path).await.assert_refused(400, "invalid");
    }
    // Encoded twice it is a strange name, and nothing else.
    bench.get("/sandboxes/one/files/tmp/%252e%252e").await.assert_refused(404, "not_found");
}

#[tokio::test]
async fn an_upload_that_is_too_large_leaves_nothing() {
    let limits = agentkernel_service::Limits { max_upload_bytes: 1000, ..Default::default() };
    let bench = Bench::with(agentkernel_testkit::fake::FakeBackend::new(), limits);
    bench.sandbox("one").await;
    let path = "/sandboxes/one/files/tmp/x";
    put(&bench, path, "application/octet-stream", vec![b'x'; 1001]).await.assert_refused(413, "too_large");
    bench.get(path).await.assert_refused(404, "not_found");
    assert_eq!(
        put(&bench, path, "application/octet-stream", vec![b'x'; 1000]).await.data(),
        "Wrote 1000 bytes to /tmp/x"
    );
    let archive = "/sandboxes/one/archive?path=/tmp/y";
    put(&bench, archive, "application/x-tar", vec![0; 1001]).await.assert_refused(413, "too_large");
}
