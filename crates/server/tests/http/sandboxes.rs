//! Sandboxes that stay, the machine and the server, with the shapes of the v0.4 wire format.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn health_is_as_it_always_was() {
    let reply = Bench::new().get("/health").await;
    assert_eq!(reply.text(), r#"{"success":true,"data":"ok"}"#);
    assert_eq!(reply.headers[header::CONTENT_TYPE], "application/json");
}

#[tokio::test]
async fn a_sandbox_is_made_seen_stopped_started_and_removed() {
    let bench = Bench::new();
    let request =
        json!({"name": "demo", "image": "host", "vcpus": 2, "memory_mb": 256, "labels": {"team": "blue"}});
    let reply = bench.post("/sandboxes", request.clone()).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.headers[header::LOCATION], "/sandboxes/demo");
    let data = reply.data();
    assert_eq!(
        (
            &data["name"],
            &data["status"],
            &data["backend"],
            &data["image"],
            &data["vcpus"],
            &data["memory_mb"]
        ),
        (&json!("demo"), &json!("running"), &json!("fake"), &json!("host"), &json!(2), &json!(256))
    );
    bench.post("/sandboxes", request).await.assert_refused(409, "already_exists");

    let info = bench.get("/sandboxes/demo").await.data();
    assert!(info["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(bench.get("/sandboxes").await.data()[0]["name"], "demo");
    for (query, count) in [("team=blue", 1), ("team", 1), ("team=red", 0), ("color", 0)] {
        let found = bench.get(&format!("/sandboxes?label={query}")).await.data();
        assert_eq!(found.as_array().unwrap().len(), count, "{query}");
    }

    assert_eq!(bench.post("/sandboxes/demo/stop", json!({"grace_ms": 10})).await.data()["status"], "stopped");
    let start = Request::post("/sandboxes/demo/start").body(Body::empty()).unwrap();
    assert_eq!(bench.send(start).await.data()["status"], "running");
    assert!(bench.get("/sandboxes/demo/processes").await.data().is_array());
    assert_eq!(bench.get("/sandboxes/demo/ports").await.data(), json!([]));
    assert_eq!(bench.get("/sandboxes/demo/logs").await.data(), json!([]));
    bench.get("/sandboxes/none/logs").await.assert_refused(404, "not_found");

    let removed = bench.delete("/sandboxes/demo").await;
    assert_eq!(removed.text(), r#"{"success":true,"data":"Sandbox removed"}"#);
    assert_eq!(bench.delete("/sandboxes/demo").await.text(), removed.text(), "an unknown one as well");
    bench.get("/sandboxes/demo").await.assert_refused(404, "not_found");
    bench.idle().await;
}

#[tokio::test]
async fn the_machine_and_the_server_tell_of_themselves() {
    let bench = Bench::new();
    assert_eq!(bench.get("/version").await.data()["version"], "1.2.3");
    assert_eq!(bench.get("/backends").await.data()[0]["name"], "fake");
    assert_eq!(bench.get("/images").await.data(), json!([]));
    assert_eq!(bench.get("/pool").await.data()["enabled"], false);
    bench.post("/pool/warm", json!({"count": 1})).await.assert_refused(422, "unsupported");
    bench
        .send(Request::post("/pool/drain").body(Body::empty()).unwrap())
        .await
        .assert_refused(422, "unsupported");
    assert!(bench.get("/stats").await.data()["uptime_ms"].is_u64());
    assert_eq!(bench.get("/audit?limit=5").await.data(), json!([]));
    let metrics = bench.get("/metrics").await;
    assert_eq!(metrics.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    assert!(metrics.text().contains("\nagentkernel_"), "{}", metrics.text());
}

#[tokio::test]
async fn the_page_for_people_loads_nothing() {
    let reply = Bench::new().get("/docs").await;
    assert_eq!(reply.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = reply.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"));
    assert!(reply.text().contains("/sandboxes/{name}/exec"));
}

#[tokio::test]
async fn head_is_there_where_get_is() {
    let bench = Bench::new();
    for path in ["/health", "/sandboxes", "/docs", "/events"] {
        let reply = bench.send(Request::head(path).body(Body::empty()).unwrap()).await;
        assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0), "{path}");
    }
}
