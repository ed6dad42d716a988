//! The server over HTTP, without a socket: requests as the guard lets them through.

use agentkernel_mcp::HttpService;
use agentkernel_service::{Caller, Scope};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::bench::{Bench, PATIENCE};

/// A key's connection.
struct Key {
    service: HttpService,
    name: &'static str,
    session: Option<String>,
}

type Body = Full<bytes::Bytes>;

impl Key {
    fn new(bench: &Bench, name: &'static str) -> Self {
        Self { service: HttpService::new(bench.service.clone(), Bench::settings()), name, session: None }
    }

    fn request(&self, method: &str, body: &Value) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri("/mcp")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let caller = Caller { name: self.name.to_owned(), ..Bench::caller(Scope::Run) };
        request.extension(caller).body(Full::new(body.to_string().into())).unwrap()
    }

    async fn send(&mut self, request: Request<Body>) -> Response<impl BodyExt<Data = bytes::Bytes> + use<>> {
        let Ok(response) = tokio::time::timeout(PATIENCE, self.service.call(request)).await.unwrap();
        response
    }

    /// The first JSON-RPC message of the answer that has an id.
    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = self.request("POST", &body);
        let response = self.send(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        if let Some(session) = response.headers().get("mcp-session-id") {
            self.session = Some(session.to_str().unwrap().to_owned());
        }
        let mut body = Box::pin(response.into_body());
        let mut text = String::new();
        loop {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap().expect("an answer");
            let Ok(frame) = frame else { panic!("the body breaks off") };
            text.push_str(std::str::from_utf8(&frame.into_data().unwrap_or_default()).unwrap());
            let lines = text.lines().filter_map(|line| line.strip_prefix("data:").or(Some(line)));
            let messages = lines.filter_map(|line| serde_json::from_str::<Value>(line.trim()).ok());
            if let Some(answer) = messages.into_iter().find(|message| message["id"] == 1) {
                return answer;
            }
        }
    }

    async fn introduce(&mut self) {
        let params = json!({
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
        });
        let answer = self.ask("initialize", params).await;
        assert_eq!(answer["result"]["protocolVersion"], "2025-06-18", "{answer}");
        assert!(self.session.is_some());
        let body = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let request = self.request("POST", &body);
        assert_eq!(self.send(request).await.status(), StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn a_session_runs_commands() {
    let bench = Bench::new();
    let mut key = Key::new(&bench, "ci");
    key.introduce().await;
    let answer =
        key.ask("tools/call", json!({"name": "sandbox_run", "arguments": {"command": ["echo", "hi"]}})).await;
    assert_eq!(answer["result"]["structuredContent"]["stdout"], "hi\n", "{answer}");
    let request = key.request("DELETE", &Value::Null);
    assert!(key.send(request).await.status().is_success());
    let request = key.request("POST", &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}));
    assert_eq!(key.send(request).await.status(), StatusCode::NOT_FOUND);
    bench.all_gone().await;
}

#[tokio::test]
async fn another_key_can_not_speak_in_a_session() {
    let bench = Bench::new();
    let mut key = Key::new(&bench, "ci");
    key.introduce().await;
    let call = json!({"name": "sandbox_list", "arguments": {}});
    assert!(key.ask("tools/call", call.clone()).await["result"].is_object());
    key.name = "thief";
    let answer = key.ask("tools/call", call).await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("another key"), "{answer}");
}

#[tokio::test]
async fn nobody_speaks_past_the_guard() {
    let bench = Bench::new();
    let mut key = Key::new(&bench, "ci");
    let mut request = key.request(
        "POST",
        &json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}),
    );
    request.extensions_mut().remove::<Caller>();
    let response = key.send(request).await;
    let session = response.headers().get("mcp-session-id").cloned();
    drop(response);
    key.session = session.map(|session| session.to_str().unwrap().to_owned());
    let mut request = key.request(
        "POST",
        &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "sandbox_list"}}),
    );
    request.extensions_mut().remove::<Caller>();
    let response = key.send(request).await;
    let Ok(body) = response.into_body().collect().await else { panic!("no body") };
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    assert!(text.contains("nobody knows who asks") && !text.contains("sandboxes"), "{text}");
}

#[tokio::test]
async fn the_newest_version_needs_no_session_and_ends_with_its_connection() {
    let bench = Bench::new();
    let mut key = Key::new(&bench, "ci");
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": 1,
    });
    let arguments = json!({"command": ["sleep", "600"], "timeout_ms": 600_000});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
        {"name": "sandbox_run", "arguments": arguments, "_meta": meta}});
    let mut request = key.request("POST", &body);
    let headers = request.headers_mut();
    headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    headers.insert("mcp-method", "tools/call".parse().unwrap());
    headers.insert("mcp-name", "sandbox_run".parse().unwrap());
    let response = key.send(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = Box::pin(response.into_body());
    assert!(tokio::time::timeout(PATIENCE, body.frame()).await.unwrap().is_some());
    assert!(!bench.fake.objects().is_empty());
    drop(body);
    bench.all_gone().await;
}

#[tokio::test]
async fn sessions_end_with_the_service() {
    let bench = Bench::new();
    let mut key = Key::new(&bench, "ci");
    key.introduce().await;
    let request = key.request("GET", &Value::Null);
    let response = key.send(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let listening = tokio::spawn(async move { response.into_body().collect().await.is_ok() });
    bench.service.begin_shutdown();
    tokio::time::timeout(PATIENCE, listening).await.expect("the stream ends").unwrap();
}
