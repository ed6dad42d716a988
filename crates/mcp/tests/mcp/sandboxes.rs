//! Sandboxes that stay.

use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_sandbox_from_its_creation_to_its_end() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let made = client
        .call("create_sandbox", json!({"name": "box", "env": {"A": "1"}, "cwd": "/tmp", "memory_mb": 64}))
        .await;
    assert_eq!(
        (&made["name"], &made["status"], &made["memory_mb"]),
        (&json!("box"), &json!("running"), &json!(64))
    );
    let exec = client.call("exec_in_sandbox", json!({"name": "box", "command": "echo $A; pwd"})).await;
    assert_eq!((&exec["stdout"], &exec["sandbox"]), (&json!("1\n/tmp\n"), &json!("box")));
    let list = client.call("list_sandboxes", json!({})).await;
    assert_eq!(list["sandboxes"][0]["name"], "box");
    for _ in 0..2 {
        assert_eq!(
            client.call("sandbox_stop", json!({"name": "box", "grace_ms": 0})).await["status"],
            "stopped"
        );
    }
    let text = client.failure("sandbox_exec", json!({"name": "box", "command": ["true"]})).await;
    assert!(text.contains("is stopped") && text.ends_with("[conflict]"), "{text}");
    for _ in 0..2 {
        assert_eq!(client.call("sandbox_start", json!({"name": "box"})).await["status"], "running");
    }
    let removed = client.call("remove_sandbox", json!({"name": "box"})).await;
    assert!(removed["message"].as_str().unwrap().contains("removed"), "{removed}");
    let again = client.call("sandbox_remove", json!({"name": "box"})).await;
    assert!(again["message"].as_str().unwrap().contains("no sandbox"), "{again}");
    bench.all_gone().await;
}

#[tokio::test]
async fn a_name_can_be_taken_once() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "box", "start": false})).await;
    let text = client.failure("sandbox_create", json!({"name": "box"})).await;
    assert!(text.ends_with("[already_exists]"), "{text}");
    let list = client.raw_call("sandbox_list", json!({})).await;
    assert!(list["content"][0]["text"].as_str().unwrap().starts_with("box: stopped (fake"), "{list}");
}

#[tokio::test]
async fn a_sandbox_that_is_not_there_is_named() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    for (tool, arguments) in [
        ("sandbox_exec", json!({"name": "gone", "command": ["true"]})),
        ("sandbox_start", json!({"name": "gone"})),
        ("sandbox_stop", json!({"name": "gone"})),
        ("sandbox_file_read", json!({"name": "gone", "path": "/a"})),
        ("sandbox_exec_list", json!({"name": "gone"})),
    ] {
        let text = client.failure(tool, arguments).await;
        assert!(text.contains("gone") && text.ends_with("[not_found]"), "{tool}: {text}");
    }
}
