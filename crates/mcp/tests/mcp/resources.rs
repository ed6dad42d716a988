//! Sandboxes and their files as resources.

use serde_json::json;

use crate::bench::Bench;
use crate::client::Client;

#[tokio::test]
async fn sandboxes_and_their_files_are_resources() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    for name in ["b", "a"] {
        client.call("sandbox_create", json!({"name": name})).await;
    }
    let list = client.request("resources/list", json!({})).await;
    let uris: Vec<&str> =
        list["resources"].as_array().unwrap().iter().map(|one| one["uri"].as_str().unwrap()).collect();
    assert_eq!(uris, ["agentkernel://sandboxes/a", "agentkernel://sandboxes/b"]);
    let after = client.request("resources/list", json!({"cursor": "a"})).await;
    assert_eq!(after["resources"].as_array().unwrap().len(), 1);
    let templates = client.request("resources/templates/list", json!({})).await;
    assert_eq!(
        templates["resourceTemplates"][0]["uriTemplate"],
        "agentkernel://sandboxes/{name}/files/{+path}"
    );
    let read = client.request("resources/read", json!({"uri": uris[0]})).await;
    let text = read["contents"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap()["name"], "a");
    let uri = "agentkernel://sandboxes/a/files/tmp/t%C3%A9xt";
    client
        .call("sandbox_file_write", json!({"name": "a", "path": "/tmp/t\u{e9}xt", "content": "hello"}))
        .await;
    let read = client.request("resources/read", json!({"uri": uri})).await;
    assert_eq!(read["contents"][0], json!({"uri": uri, "mimeType": "text/plain", "text": "hello"}));
    let arguments = json!({"name": "a", "path": "/tmp/bin", "content": "/wA=", "encoding": "base64"});
    let written = client.call("sandbox_file_write", arguments).await;
    let read = client.request("resources/read", json!({"uri": written["uri"]})).await;
    assert_eq!(read["contents"][0]["blob"], "/wA=");
}

#[tokio::test]
async fn addresses_that_lead_nowhere_or_out_are_refused() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "a"})).await;
    for uri in [
        "file:///etc/passwd",
        "agentkernel://sandboxes/../files/etc/passwd",
        "agentkernel://sandboxes/a/files/../etc/passwd",
        "agentkernel://sandboxes/a/files/%2e%2e/etc/passwd",
        "agentkernel://sandboxes/a/files/x%00",
    ] {
        let error = client.refused("resources/read", json!({"uri": uri})).await;
        assert_eq!((&error["code"], &error["data"]["field"]), (&json!(-32602), &json!("uri")), "{uri}");
    }
    for uri in ["agentkernel://sandboxes/none", "agentkernel://sandboxes/a/files/none"] {
        assert_eq!(client.refused("resources/read", json!({"uri": uri})).await["code"], -32002, "{uri}");
    }
    let content = "x".repeat((1 << 20) + 1);
    client.call("sandbox_file_write", json!({"name": "a", "path": "/tmp/large", "content": content})).await;
    let error =
        client.refused("resources/read", json!({"uri": "agentkernel://sandboxes/a/files/tmp/large"})).await;
    assert!(error["message"].as_str().unwrap().contains("sandbox_file_read"), "{error}");
}

#[tokio::test]
async fn clients_that_know_no_links_get_none() {
    let bench = Bench::new();
    let (stream, _running) = bench.serve(agentkernel_service::Scope::Run);
    let mut client = Client::new(stream);
    client.introduce("2024-11-05").await;
    client.call("sandbox_create", json!({"name": "a"})).await;
    let written =
        client.raw_call("sandbox_file_write", json!({"name": "a", "path": "/tmp/a", "content": ""})).await;
    assert_eq!(written["content"].as_array().unwrap().len(), 1, "{written}");
}
