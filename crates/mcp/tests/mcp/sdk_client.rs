//! The SDK's own client, with and without a handshake.

use agentkernel_service::Scope;
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::{ClientLifecycleMode, ServiceExt, serve_client_with_lifecycle};
use serde_json::json;

use crate::bench::Bench;

fn echo() -> CallToolRequestParams {
    let arguments = json!({"command": ["echo", "hi"]});
    CallToolRequestParams::new("sandbox_run").with_arguments(arguments.as_object().unwrap().clone())
}

#[tokio::test]
async fn with_a_handshake() {
    let bench = Bench::new();
    let (stream, _running) = bench.serve(Scope::Run);
    let client = ().serve(stream).await.unwrap();
    assert_eq!(client.list_all_tools().await.unwrap().len(), 27);
    let result = client.call_tool(echo()).await.unwrap();
    assert_eq!(result.structured_content.unwrap()["stdout"], "hi\n");
    assert_eq!(client.list_all_resource_templates().await.unwrap().len(), 1);
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn without_a_handshake() {
    let bench = Bench::new();
    let (stream, _running) = bench.serve(Scope::Run);
    let mode = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    let client = serve_client_with_lifecycle((), stream, mode).await.unwrap();
    let result = client.call_tool(echo()).await.unwrap();
    assert_eq!(result.structured_content.unwrap()["stdout"], "hi\n");
    client.cancel().await.unwrap();
}
