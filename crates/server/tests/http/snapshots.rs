//! Pause, snapshots and forks.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_sandbox_is_paused_kept_restored_and_forked() {
    let bench = Bench::new();
    bench.post("/sandboxes", json!({"name": "demo"})).await;
    let empty = |path: &str| Request::post(path).body(Body::empty()).unwrap();
    assert_eq!(bench.send(empty("/sandboxes/demo/pause")).await.data()["status"], "paused");
    let command = json!({"command": ["true"]});
    bench.post("/sandboxes/demo/exec", command).await.assert_refused(409, "conflict");
    assert_eq!(bench.send(empty("/sandboxes/demo/resume")).await.data()["status"], "running");

    let taken = bench.post("/snapshots", json!({"sandbox": "demo", "name": "kept"})).await;
    assert_eq!(
        (taken.status, &taken.headers[header::LOCATION]),
        (StatusCode::CREATED, &"/snapshots/kept".parse().unwrap())
    );
    let data = taken.data();
    assert_eq!((&data["source"], &data["backend"]), (&json!("demo"), &json!("fake")));
    assert_eq!(bench.get("/snapshots").await.data(), json!([data]));
    assert_eq!(bench.get("/snapshots/kept").await.data(), data);
    bench
        .post("/snapshots", json!({"sandbox": "demo", "name": "kept"}))
        .await
        .assert_refused(409, "already_exists");
    bench.post("/snapshots", json!({"sandbox": "none"})).await.assert_refused(404, "not_found");
    bench.post("/snapshots", json!({"sandbox": "demo", "nam": "x"})).await.assert_refused(400, "invalid");
    bench.get("/snapshots/-x").await.assert_refused(400, "invalid");

    let made = bench.post("/snapshots/kept/restore", json!({"as_name": "again"})).await;
    assert_eq!(
        (made.status, &made.headers[header::LOCATION]),
        (StatusCode::CREATED, &"/sandboxes/again".parse().unwrap())
    );
    assert_eq!(made.data()["status"], "running");
    assert_eq!(bench.send(empty("/snapshots/kept/restore")).await.data()["name"], "kept");
    bench.send(empty("/snapshots/none/restore")).await.assert_refused(404, "not_found");

    let children = bench.post("/sandboxes/demo/fork", json!({"count": 2})).await.data();
    assert_eq!((&children[0]["name"], &children[1]["name"]), (&json!("demo-1"), &json!("demo-2")));
    assert_eq!(bench.send(empty("/sandboxes/demo/fork")).await.data()[0]["name"], "demo-3");
    bench.post("/sandboxes/demo/fork", json!({"count": 0})).await.assert_refused(400, "invalid");

    let removed = bench.delete("/snapshots/kept").await;
    assert_eq!(removed.text(), r#"{"success":true,"data":"Snapshot removed"}"#);
    assert_eq!(bench.delete("/snapshots/kept").await.text(), removed.text(), "an unknown one as well");
    bench.get("/snapshots/kept").await.assert_refused(404, "not_found");
    for name in ["demo", "again", "kept", "demo-1", "demo-2", "demo-3"] {
        bench.delete(&format!("/sandboxes/{name}")).await;
    }
    bench.idle().await;
}
