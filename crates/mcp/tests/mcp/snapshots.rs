//! Pause, snapshots and forks.

use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_sandbox_is_paused_kept_restored_and_forked() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "box"})).await;
    assert_eq!(client.call("sandbox_pause", json!({"name": "box"})).await["status"], "paused");
    let text = client.failure("sandbox_exec", json!({"name": "box", "command": ["true"]})).await;
    assert!(text.contains("it is paused; resume it first"), "{text}");
    assert_eq!(client.call("sandbox_resume", json!({"name": "box"})).await["status"], "running");
    let taken = client.call("snapshot_take", json!({"sandbox": "box", "name": "kept"})).await;
    assert_eq!((&taken["name"], &taken["source"]), (&json!("kept"), &json!("box")));
    assert_eq!(client.call("snapshot_get", json!({"name": "kept"})).await, taken);
    let list = client.raw_call("snapshot_list", json!({})).await;
    assert!(list["content"][0]["text"].as_str().unwrap().starts_with("kept: of sandbox box (fake"), "{list}");
    let made = client.call("snapshot_restore", json!({"name": "kept", "as_name": "again"})).await;
    assert_eq!((&made["name"], &made["status"]), (&json!("again"), &json!("running")));
    let forked = client.call("sandbox_fork", json!({"name": "again", "count": 2})).await;
    assert_eq!(forked["sandboxes"][1]["name"], "again-2");
    for message in ["removed", "no snapshot"] {
        let removed = client.call("snapshot_delete", json!({"name": "kept"})).await;
        assert!(removed["message"].as_str().unwrap().contains(message), "{removed}");
    }
    for name in ["box", "again", "again-1", "again-2"] {
        client.call("sandbox_remove", json!({"name": name})).await;
    }
    bench.all_gone().await;
}
