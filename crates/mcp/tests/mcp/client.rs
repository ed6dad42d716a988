//! JSON-RPC by hand, so that the server isn't only understood by its own SDK.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};

use crate::bench::PATIENCE;

/// One connection.
pub(crate) struct Client {
    output: WriteHalf<DuplexStream>,
    input: Lines<BufReader<ReadHalf<DuplexStream>>>,
    last_id: u64,
    answers: HashMap<u64, Value>,
    pub(crate) notifications: Vec<Value>,
}

impl Client {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        let (input, output) = tokio::io::split(stream);
        let input = BufReader::new(input).lines();
        Self { output, input, last_id: 0, answers: HashMap::new(), notifications: Vec::new() }
    }

    /// Writes a line as it is.
    pub(crate) async fn line(&mut self, line: &str) {
        self.output.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Sends a request; its id.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let message = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.line(&message.to_string()).await;
        self.last_id
    }

    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        self.line(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()).await;
    }

    /// The whole answer to a request.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            self.read().await;
        }
    }

    /// Reads one message.
    pub(crate) async fn read(&mut self) {
        let line = tokio::time::timeout(PATIENCE, self.input.next_line()).await.expect("no message came");
        let line = line.unwrap().expect("the server has closed the connection");
        let message: Value = serde_json::from_str(&line).expect("every line is JSON");
        assert_eq!(message["jsonrpc"], "2.0");
        match message["id"].as_u64() {
            Some(id) => assert!(self.answers.insert(id, message).is_none(), "two answers to {id}"),
            None => self.notifications.push(message),
        }
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        while tokio::time::timeout(PATIENCE, self.input.next_line()).await.unwrap().unwrap().is_some() {}
    }

    /// Ends what the server reads.
    pub(crate) async fn end(&mut self) {
        self.output.shutdown().await.unwrap();
    }

    /// `initialize`; its result.
    pub(crate) async fn introduce(&mut self, version: &str) -> Value {
        let params = json!({
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        });
        let id = self.ask("initialize", params).await;
        let answer = self.answer(id).await;
        self.notify("notifications/initialized", json!({})).await;
        answer["result"].clone()
    }

    /// A request's result.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params).await;
        let answer = self.answer(id).await;
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// A request's error.
    pub(crate) async fn refused(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params).await;
        let answer = self.answer(id).await;
        assert!(answer.get("result").is_none(), "{answer}");
        answer["error"].clone()
    }

    /// A tool's result, as the protocol has it.
    pub(crate) async fn raw_call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// The fields of a tool's success.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> impl Future<Output = Value> {
        let tool = tool.to_owned();
        async move {
            let result = self.raw_call(&tool, arguments).await;
            assert_eq!(result["isError"], false, "{tool}: {result}");
            result["structuredContent"].clone()
        }
    }

    /// The text of a tool's failure.
    pub(crate) async fn failure(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.raw_call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{tool}: {result}");
        assert!(result.get("structuredContent").is_none(), "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }
}
