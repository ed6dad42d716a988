//! Several requests at once.

use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_quick_request_overtakes_a_slow_one() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "a"})).await;
    let script = "until test -e /tmp/go; do sleep 0.01; done; echo slow";
    let arguments = json!({"name": "a", "command": script});
    let slow = client.ask("tools/call", json!({"name": "sandbox_exec", "arguments": arguments})).await;
    let quick = client.call("sandbox_run", json!({"command": ["echo", "quick"]})).await;
    assert_eq!(quick["stdout"], "quick\n");
    client.call("sandbox_file_write", json!({"name": "a", "path": "/tmp/go", "content": ""})).await;
    assert_eq!(client.answer(slow).await["result"]["structuredContent"]["stdout"], "slow\n");
}

#[tokio::test]
async fn fifty_requests_are_each_answered_with_their_own() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let mut asked = Vec::new();
    for number in 0..50 {
        let arguments = json!({"command": ["echo", number.to_string()]});
        asked.push(client.ask("tools/call", json!({"name": "sandbox_run", "arguments": arguments})).await);
    }
    for (number, id) in asked.into_iter().enumerate().rev() {
        let answer = client.answer(id).await;
        assert_eq!(answer["result"]["structuredContent"]["stdout"], format!("{number}\n"), "{answer}");
    }
    bench.all_gone().await;
}
