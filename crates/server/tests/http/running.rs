//! `/run`, `/batch/run` and `exec`, answered whole.

use serde_json::json;

use crate::bench::Bench;

fn sh(script: &str) -> serde_json::Value {
    json!({"image": "host", "command": ["sh", "-c", script]})
}

#[tokio::test]
async fn a_run_answers_with_the_output_of_v04_and_all_that_it_lacked() {
    let bench = Bench::new();
    let data = bench.post("/run", sh("echo out; echo err >&2; exit 3")).await.data();
    assert_eq!(data["stdout"], "out\n");
    assert_eq!(data["stderr"], "err\n");
    assert_eq!(data["exit_code"], 3);
    // The fake cuts and mixes both as the contract allows; nothing is lost of either.
    let mut output: Vec<u8> = data["output"].as_str().unwrap().bytes().collect();
    output.sort_unstable();
    assert_eq!(output, b"\n\neorrtu");
    for field in ["encoding", "timed_out", "duration_ms", "backend", "isolation", "image", "warm"] {
        assert!(!data[field].is_null(), "{field}");
    }
    bench.idle().await;
}

#[tokio::test]
async fn a_command_that_can_not_be_started_is_a_result() {
    let bench = Bench::new();
    let data = bench.post("/run", json!({"image": "host", "command": ["no-such-program"]})).await.data();
    assert_eq!(data["exit_code"], 127);
    assert_eq!(data["error"]["kind"], "not_found");
}

#[tokio::test]
async fn input_environment_folder_and_encoding_are_honoured() {
    let bench = Bench::new();
    let mut request = sh("cat; echo $A; pwd");
    request["stdin"] = json!("/wAB");
    request["stdin_encoding"] = json!("base64");
    request["encoding"] = json!("base64");
    request["env"] = json!({"A": "b c"});
    request["workdir"] = json!("/tmp");
    let data = bench.post("/run", request).await.data();
    assert_eq!(data["stdout"], "/wABYiBjCi90bXAK");
    assert_eq!(data["encoding"], "base64");
}

#[tokio::test]
async fn a_batch_answers_in_the_order_of_its_commands() {
    let bench = Bench::new();
    let commands: Vec<_> =
        (0..5).map(|n| json!({"image": "host", "command": ["echo", n.to_string()]})).collect();
    let mut commands = commands;
    commands.push(json!({"image": "host", "command": ["no-such-program"]}));
    let data = bench.post("/batch/run", json!({"commands": commands})).await.data();
    let results = data["results"].as_array().unwrap();
    for (n, result) in results[..5].iter().enumerate() {
        assert_eq!(result["output"], format!("{n}\n"));
        assert!(result["error"].is_null() && result.as_object().unwrap().contains_key("error"));
    }
    assert!(results[5]["output"].is_null() && results[5]["error"].is_string());
    bench.post("/batch/run", json!({"commands": []})).await.assert_refused(400, "invalid");
}

#[tokio::test]
async fn an_exec_runs_in_its_sandbox() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let command = json!({"command": ["sh", "-c", "echo a > /tmp/x; cat /tmp/x; exit 4"]});
    let data = bench.post("/sandboxes/one/exec", command).await.data();
    assert_eq!((&data["output"], &data["exit_code"]), (&json!("a\n"), &json!(4)));
    assert_eq!(data["sandbox"], "one");
    bench.post("/sandboxes/none/exec", json!({"command": ["true"]})).await.assert_refused(404, "not_found");
    bench.post("/sandboxes/one/exec", json!({"command": []})).await.assert_refused(400, "invalid");
    bench.post("/sandboxes/one/stop", json!({})).await.data();
    bench.post("/sandboxes/one/exec", json!({"command": ["true"]})).await.assert_refused(409, "conflict");
}
