//! `sandbox_run` and `sandbox_exec`.

use agentkernel_model::Feature;
use agentkernel_testkit::fake::FakeBackend;
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_command_ends_with_all_that_is_known_of_it() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let arguments = json!({"command": "cat; echo $A; pwd; echo oops >&2; exit 3", "stdin": "in\n", "env": {"A": "b c"}, "cwd": "/tmp"});
    let result = client.raw_call("sandbox_run", arguments).await;
    assert_eq!(result["isError"], false);
    let run = &result["structuredContent"];
    assert_eq!((&run["exit_code"], &run["stderr"]), (&json!(3), &json!("oops\n")));
    assert_eq!(run["stdout"], "in\nb c\n/tmp\n");
    assert_eq!((&run["backend"], &run["isolation"]["boundary"]), (&json!("fake"), &json!("fake")));
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("exit code: 3\nisolation: fake, fake"), "{text}");
    assert!(text.contains("stdout:\nin\nb c\n/tmp\n") && text.contains("stderr:\noops\n"), "{text}");
    bench.all_gone().await;
}

#[tokio::test]
async fn every_wish_for_the_sandbox_reaches_it() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let arguments = json!({
        "command": ["true"], "profile": "restrictive", "network": false, "memory_mb": 128, "vcpus": 0.5,
        "backend": "fake", "fast": false, "image": "host", "compatibility_mode": "native",
    });
    client.call("run_command", arguments).await;
    let launched = bench.fake.launched();
    let spec = launched.last().unwrap();
    assert_eq!(spec.profile.as_str(), "restrictive");
    assert_eq!(spec.resources.memory.map(|memory| memory.0), Some(128));
    assert_eq!(spec.resources.cpus.map(|cpus| cpus.to_string()), Some("0.5".to_owned()));
    assert_eq!(format!("{:?}", spec.network), "None");
}

#[tokio::test]
async fn what_no_backend_can_keep_is_refused_before_anything_is_made() {
    let fake = FakeBackend::new().without(Feature::Network, "this one has no wires");
    let bench = Bench::with(fake);
    let (mut client, _running) = bench.client().await;
    let text = client.failure("sandbox_run", json!({"command": ["true"], "network": true})).await;
    assert!(text.contains("this one has no wires") && text.ends_with("[unsupported]"), "{text}");
    for mode in ["claude", "claude-code", "codex", "gemini", "gemini-cli"] {
        let text =
            client.failure("sandbox_run", json!({"command": ["true"], "compatibility_mode": mode})).await;
        assert!(text.contains("domains") && text.ends_with("[unsupported]"), "{text}");
    }
    assert!(bench.fake.launched().is_empty());
}

#[tokio::test]
async fn a_command_that_can_not_be_started_is_a_result() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let run = client.call("sandbox_run", json!({"command": ["/no/such/program"]})).await;
    assert_eq!((&run["exit_code"], &run["error"]["kind"]), (&json!(127), &json!("not_found")));
    bench.all_gone().await;
}

#[tokio::test]
async fn a_command_is_killed_when_its_time_is_over() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let run = client.call("sandbox_run", json!({"command": ["sleep", "600"], "timeout_ms": 50})).await;
    assert_eq!((&run["exit_code"], &run["timed_out"]), (&json!(124), &json!(true)));
    bench.all_gone().await;
}

#[tokio::test]
async fn of_much_output_the_beginning_and_the_end_are_returned() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let run = client
        .call("sandbox_run", json!({"command": ["seq", "1", "100000"], "max_output_bytes": 1000}))
        .await;
    let text = run["stdout"].as_str().unwrap();
    assert!(text.starts_with("1\n2\n3\n") && text.ends_with("99999\n100000\n"), "{text}");
    assert!(text.contains("bytes left out") && text.len() < 1100);
    assert_eq!((&run["stdout_truncated"], &run["stderr_truncated"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn progress_shows_output_while_the_command_runs() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "a"})).await;
    let script = "echo begun; until test -e /tmp/go; do sleep 0.01; done; echo over";
    let params = json!({
        "name": "sandbox_exec", "arguments": {"name": "a", "command": script}, "_meta": {"progressToken": "p-1"},
    });
    let id = client.ask("tools/call", params).await;
    let said = |client: &crate::client::Client| -> String {
        let messages = client.notifications.iter().filter_map(|one| one["params"]["message"].as_str());
        messages.collect()
    };
    while !said(&client).contains("begun\n") {
        client.read().await;
    }
    client.call("sandbox_file_write", json!({"name": "a", "path": "/tmp/go", "content": ""})).await;
    let answer = client.answer(id).await;
    assert_eq!(answer["result"]["structuredContent"]["stdout"], "begun\nover\n");
    let mut last = -1.0;
    for one in &client.notifications {
        assert_eq!(
            (&one["method"], &one["params"]["progressToken"]),
            (&json!("notifications/progress"), &json!("p-1"))
        );
        let progress = one["params"]["progress"].as_f64().unwrap();
        assert!(progress > last, "{:?}", client.notifications);
        last = progress;
    }
}

#[tokio::test]
async fn nobody_is_told_who_did_not_ask() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_run", json!({"command": ["seq", "1", "10000"]})).await;
    assert!(client.notifications.is_empty(), "{:?}", client.notifications);
}

#[tokio::test]
async fn a_cancelled_request_ends_its_command_and_its_sandbox() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    let params = json!({
        "name": "sandbox_run", "arguments": {"command": ["sleep", "600"], "timeout_ms": 600_000},
        "_meta": {"progressToken": 1},
    });
    let id = client.ask("tools/call", params).await;
    // It runs when its first step is told.
    while client.notifications.is_empty() {
        client.read().await;
    }
    assert!(!bench.fake.objects().is_empty());
    client.notify("notifications/cancelled", json!({"requestId": id, "reason": "enough"})).await;
    bench.all_gone().await;
    assert_eq!(client.request("ping", json!({})).await, json!({}));
}

#[tokio::test]
async fn the_end_of_the_server_ends_its_commands() {
    let bench = Bench::new();
    let (mut client, running) = bench.client().await;
    let params = json!({
        "name": "sandbox_run", "arguments": {"command": ["sleep", "600"], "timeout_ms": 600_000},
        "_meta": {"progressToken": 1},
    });
    client.ask("tools/call", params).await;
    while client.notifications.is_empty() {
        client.read().await;
    }
    running.stop.send(()).unwrap();
    running.ended.await.unwrap().unwrap();
    assert_eq!(bench.fake.objects(), [""; 0]);
}
