//! Commands that are left running.

use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_command_is_started_followed_and_ended() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "box"})).await;
    let script = "echo out; echo err >&2; until test -e /tmp/go; do sleep 0.01; done; echo \u{e9}; exit 4";
    let started = client.call("sandbox_exec_detach", json!({"name": "box", "command": script})).await;
    let id = started["id"].clone();
    assert_eq!(started["sandbox"], "box");
    let (mut stdout, mut stderr, mut offset) = (String::new(), String::new(), json!(0));
    while stdout.is_empty() || stderr.is_empty() {
        let arguments = json!({"name": "box", "id": id, "offset": offset, "limit": 3, "wait_ms": 20_000});
        let logs = client.call("sandbox_exec_logs", arguments).await;
        assert_eq!((&logs["status"], &logs["offset"]), (&json!("running"), &offset));
        stdout.push_str(logs["stdout"].as_str().unwrap());
        stderr.push_str(logs["stderr"].as_str().unwrap());
        offset = logs["next_offset"].clone();
    }
    let list = client.call("sandbox_exec_list", json!({"name": "box"})).await;
    assert_eq!((&list["executions"][0]["id"], &list["executions"][0]["detached"]), (&id, &json!(true)));
    client.call("sandbox_file_write", json!({"name": "box", "path": "/tmp/go", "content": ""})).await;
    loop {
        let arguments = json!({"name": "box", "id": id, "offset": offset, "wait_ms": 20_000});
        let logs = client.call("sandbox_exec_logs", arguments).await;
        stdout.push_str(logs["stdout"].as_str().unwrap());
        stderr.push_str(logs["stderr"].as_str().unwrap());
        offset = logs["next_offset"].clone();
        if logs["status"] == "ended" {
            assert_eq!(logs["exit_code"], 4);
            break;
        }
    }
    assert_eq!((stdout.as_str(), stderr.as_str()), ("out\n\u{e9}\n", "err\n"));
}

#[tokio::test]
async fn a_command_is_killed_by_its_id() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "box"})).await;
    let started =
        client.call("sandbox_exec_detach", json!({"name": "box", "command": ["sleep", "600"]})).await;
    let id = started["id"].clone();
    let killed = client.call("sandbox_exec_kill", json!({"name": "box", "id": id, "signal": "TERM"})).await;
    assert_eq!(killed["signal"], "TERM");
    let logs = client.call("sandbox_exec_logs", json!({"name": "box", "id": id, "wait_ms": 20_000})).await;
    assert_eq!((&logs["status"], &logs["exit_code"]), (&json!("ended"), &json!(143)));
    let text = client.failure("sandbox_exec_logs", json!({"name": "box", "id": "99999"})).await;
    assert!(text.ends_with("[not_found]"), "{text}");
    let arguments = json!({"name": "box", "id": id, "signal": "SIGNONSENSE"});
    let error =
        client.refused("tools/call", json!({"name": "sandbox_exec_kill", "arguments": arguments})).await;
    assert!(error["message"].as_str().unwrap().contains("signal"), "{error}");
}

#[tokio::test]
async fn a_detached_command_outlives_the_server_that_started_it() {
    let bench = Bench::new();
    let (mut client, running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "box"})).await;
    client.call("sandbox_exec_detach", json!({"name": "box", "command": ["sleep", "600"]})).await;
    client.end().await;
    running.ended.await.unwrap().unwrap();
    assert!(!bench.fake.objects().is_empty());
}
