//! Files in a sandbox.

use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn a_file_is_written_read_and_listed() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "box"})).await;
    let arguments =
        json!({"name": "box", "path": "/tmp//a b.txt", "content": "h\u{e9}llo\n", "mode": "0640"});
    let written = client.raw_call("sandbox_file_write", arguments).await;
    let fields = &written["structuredContent"];
    assert_eq!((&fields["bytes"], &fields["path"]), (&json!(7), &json!("/tmp/a b.txt")));
    let uri = "agentkernel://sandboxes/box/files/tmp/a%20b.txt";
    assert_eq!(fields["uri"], uri);
    let link = &written["content"][1];
    assert_eq!(
        (&link["type"], &link["uri"], &link["size"]),
        (&json!("resource_link"), &json!(uri), &json!(7))
    );
    let read = client.call("sandbox_file_read", json!({"name": "box", "path": "/tmp/a b.txt"})).await;
    assert_eq!(
        (&read["content"], &read["size"], &read["encoding"]),
        (&json!("h\u{e9}llo\n"), &json!(7), &json!("utf8"))
    );
    let list = client.call("sandbox_file_list", json!({"name": "box", "path": "/tmp"})).await;
    let entry = &list["entries"][0];
    assert_eq!(
        (&entry["name"], &entry["mode"], &list["total"]),
        (&json!("a b.txt"), &json!("0640"), &json!(1))
    );
}

#[tokio::test]
async fn bytes_are_exact_in_base64() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "box"})).await;
    let arguments = json!({"name": "box", "path": "/tmp/b", "content": "AP+A", "encoding": "base64"});
    client.call("sandbox_file_write", arguments).await;
    let read = client.call("sandbox_file_read", json!({"name": "box", "path": "/tmp/b"})).await;
    assert_eq!((&read["content"], &read["encoding"]), (&json!("AP+A"), &json!("base64")));
    let error = client
        .refused(
            "tools/call",
            json!({"name": "sandbox_file_write", "arguments":
            {"name": "box", "path": "/tmp/b", "content": "not base64", "encoding": "base64"}}),
        )
        .await;
    assert!(error["message"].as_str().unwrap().contains("content"), "{error}");
}

#[tokio::test]
async fn a_large_file_is_read_in_parts() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "box"})).await;
    let content = "0123456789\u{1F980}".repeat(1000);
    client.call("sandbox_file_write", json!({"name": "box", "path": "/tmp/c", "content": content})).await;
    let (mut whole, mut offset) = (String::new(), json!(0));
    while !offset.is_null() {
        let arguments = json!({"name": "box", "path": "/tmp/c", "offset": offset, "limit": 999});
        let part = client.call("sandbox_file_read", arguments).await;
        assert_eq!(part["size"], content.len());
        whole.push_str(part["content"].as_str().unwrap());
        offset = part["next_offset"].clone();
    }
    assert_eq!(whole, content);
    for limit in [0, 1_048_577] {
        let arguments = json!({"name": "box", "path": "/tmp/c", "limit": limit});
        let error =
            client.refused("tools/call", json!({"name": "sandbox_file_read", "arguments": arguments})).await;
        assert_eq!(error["data"]["field"], "limit");
    }
}

#[tokio::test]
async fn what_is_not_there_is_an_error_that_names_it() {
    let bench = Bench::new();
    let (mut client, _running) = bench.client().await;
    client.call("sandbox_create", json!({"name": "box"})).await;
    let text = client.failure("sandbox_file_read", json!({"name": "box", "path": "/tmp/none"})).await;
    assert!(text.contains("/tmp/none") && text.ends_with("[not_found]"), "{text}");
}
