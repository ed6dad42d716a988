//! The handshake, and what is wrong.

use agentkernel_service::Scope;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::client::Client;

#[tokio::test]
async fn every_version_with_a_handshake_is_spoken_and_others_get_the_newest() {
    for (asked, given) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let bench = Bench::new();
        let (stream, _running) = bench.serve(Scope::Run);
        let mut client = Client::new(stream);
        let result = client.introduce(asked).await;
        assert_eq!(result["protocolVersion"], given, "{asked}");
        assert_eq!(result["serverInfo"], json!({"name": "agentkernel", "version": "0.0.0"}));
        assert!(result["capabilities"]["tools"].is_object());
        assert!(result["capabilities"]["resources"].is_object());
        let run = client.call("sandbox_run", json!({"command": ["echo", "hi"]})).await;
        assert_eq!(run["stdout"], "hi\n", "{asked}");
    }
}

#[tokio::test]
async fn version_2026_07_28_needs_no_handshake() {
    let bench = Bench::new();
    let (stream, _running) = bench.serve(Scope::Run);
    let mut client = Client::new(stream);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let found = client.request("server/discover", json!({"_meta": meta})).await;
    assert!(found["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")), "{found}");
    let params = json!({"_meta": meta, "name": "sandbox_run", "arguments": {"command": ["echo", "hi"]}});
    let result = client.request("tools/call", params).await;
    assert_eq!(result["structuredContent"]["stdout"], "hi\n");
}

#[tokio::test]
async fn ping_is_answered_and_so_is_the_farewell_of_the_first_version() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    assert_eq!(client.request("ping", json!({})).await, json!({}));
    assert_eq!(client.request("shutdown", json!({})).await, json!({}));
    assert_eq!(client.refused("no/such/method", json!({})).await["code"], -32601);
}

#[tokio::test]
async fn tools_are_listed_with_schemas_and_hints() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let listed = client.request("tools/list", json!({})).await;
    let tools = listed["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 27);
    for tool in tools {
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{tool}");
        }
    }
    let run = tools.iter().find(|tool| tool["name"] == "sandbox_run").unwrap();
    assert_eq!(run["outputSchema"]["properties"]["exit_code"]["type"], "integer");
    assert_eq!(run["inputSchema"]["required"], json!(["command"]));
}

#[tokio::test]
async fn wrong_arguments_are_invalid_params_with_the_fields_name() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    for (tool, arguments, field) in [
        ("sandbox_run", json!({}), "command"),
        ("sandbox_run", json!({"command": []}), "command"),
        ("sandbox_run", json!({"command": ["true"], "cwd": "tmp"}), "cwd"),
        ("sandbox_run", json!({"command": ["true"], "cwd": "/a/../b"}), "cwd"),
        ("sandbox_run", json!({"command": ["true"], "nonsense": 1}), "nonsense"),
        ("sandbox_exec", json!({"name": "../x", "command": ["true"]}), "name"),
        ("sandbox_create", json!({"name": "a/b"}), "name"),
        ("sandbox_file_read", json!({"name": "a", "path": "/../etc/shadow"}), "path"),
        ("sandbox_file_write", json!({"name": "a", "path": "relative", "content": ""}), "path"),
        ("sandbox_file_write", json!({"name": "a", "path": "/a\u{0}b", "content": ""}), "path"),
    ] {
        let error = client.refused("tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert_eq!(error["code"], -32602, "{tool} {arguments}: {error}");
        assert_eq!(error["data"]["field"], field, "{tool} {arguments}: {error}");
    }
    // What the service refuses names the field in its text.
    for (tool, arguments, field) in [
        ("sandbox_run", json!({"command": ["true"], "profile": "lax"}), "profile"),
        ("sandbox_run", json!({"command": ["true"], "image": "UPPER CASE"}), "image"),
        ("sandbox_run", json!({"command": ["true"], "timeout_ms": 1_000_000_000_000_u64}), "timeout_ms"),
        ("sandbox_run", json!({"command": ["true"], "env": {"A=B": "c"}}), "env"),
        ("sandbox_run", json!({"command": ["true"], "memory_mb": 0}), "memory"),
    ] {
        let error = client.refused("tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert_eq!(error["code"], -32602, "{tool} {arguments}: {error}");
        assert!(error["message"].as_str().unwrap().contains(field), "{error}");
    }
    let error = client.refused("tools/call", json!({"name": "sandbox_fly", "arguments": {}})).await;
    assert_eq!(error["code"], -32602);
    bench.all_gone().await;
}

#[tokio::test]
async fn lines_that_are_no_messages_harm_nobody() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    for line in ["", "{", "null", "[]", "{\"jsonrpc\":\"2.0\"}", "\u{1F980}", "{\"id\":\"x\",\"method\":3}"] {
        client.line(line).await;
    }
    client.line(&"[".repeat(100_000)).await;
    assert_eq!(client.request("ping", json!({})).await, json!({}));
}

#[tokio::test]
async fn the_server_ends_with_its_input() {
    let bench = Bench::new();
    let (mut client, running) = bench.client().await;
    client.request("ping", json!({})).await;
    client.end().await;
    client.closed().await;
    running.ended.await.unwrap().unwrap();
    // Also where nobody ever said anything.
    let bench = Bench::new();
    let (stream, running) = bench.serve(Scope::Run);
    drop(stream);
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_on_its_way_is_not_lost_at_the_end_of_input() {
    let bench = Bench::new();
    let (mut client, running) = bench.client().await;
    let id = client
        .ask("tools/call", json!({"name": "sandbox_run", "arguments": {"command": ["echo", "late"]}}))
        .await;
    client.end().await;
    let answer = client.answer(id).await;
    assert_eq!(answer["result"]["structuredContent"]["stdout"], "late\n");
    running.ended.await.unwrap().unwrap();
    bench.all_gone().await;
}

#[tokio::test]
async fn what_needs_another_scope_is_refused_in_words() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let text = client.failure("sandbox_run", json!({"command": ["true"], "profile": "permissive"})).await;
    assert!(text.contains("admin") && text.ends_with("[forbidden]"), "{text}");
    let (stream, _reader) = bench.serve(Scope::Read);
    let mut reader = Client::new(stream);
    reader.introduce("2025-11-25").await;
    let text = reader.failure("sandbox_run", json!({"command": ["true"]})).await;
    assert!(text.contains("scope run"), "{text}");
    assert_eq!(reader.call("sandbox_list", json!({})).await, json!({"sandboxes": []}));
    let (stream, _admin) = bench.serve(Scope::Admin);
    let mut admin = Client::new(stream);
    admin.introduce("2025-11-25").await;
    let run = admin.call("sandbox_run", json!({"command": ["true"], "profile": "permissive"})).await;
    assert_eq!(run["exit_code"], 0);
    assert_eq!(Value::Null, run["error"]);
}
