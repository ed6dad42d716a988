//! The client against a server that does as the contract says, and against some that don't.

#![cfg(test)]

mod mock;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use agentkernel_sdk::{
    AgentKernel, CreateRequest, Error, ErrorCode, ExecRequest, ForkRequest, Frame, RestoreRequest,
    RunRequest, StreamEvent,
};
use bytes::Bytes;
use tokio::sync::mpsc;

use mock::{Mock, open, whole};

const RESULT: &str = r#"{"output":"42\n","stdout":"42\n","stderr":"","encoding":"utf8","exit_code":7,
    "timed_out":false,"stdout_truncated":false,"stderr_truncated":false,"duration_ms":3,"backend":"native",
    "isolation":{"backend":"native","boundary":"shared-kernel","rootless":false,"layers":[],"not_enforced":[]},
    "image":"host","warm":true}"#;

fn data(json: &str) -> String {
    format!(r#"{{"success":true,"data":{json}}}"#)
}

async fn client(mock: &Mock) -> AgentKernel {
    AgentKernel::builder().base_url(mock.tcp().await).build().unwrap()
}

#[tokio::test]
async fn a_command_that_fails_is_an_answer() {
    let mock = Mock::new(|_| whole(200, data(RESULT)));
    let client = AgentKernel::builder().base_url(mock.tcp().await + "/base//").api_key("k1").build().unwrap();
    let result = client.run(&RunRequest::new(["a", "b c"])).await.unwrap();
    assert_eq!((result.stdout.as_str(), result.exit_code, result.warm), ("42\n", 7, true));
    let asked = &mock.asked()[0];
    assert_eq!(asked.line, "POST /base/run");
    assert_eq!(asked.header("authorization"), "Bearer k1");
    assert_eq!(asked.header("content-type"), "application/json");
    assert!(asked.header("user-agent").starts_with("agentkernel-rust-sdk/"));
    let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!((&body["command"][1], &body["fast"]), (&"b c".into(), &true.into()));
}

#[tokio::test]
async fn connections_are_used_again_over_both_doors() {
    let mock = Mock::new(|_| whole(200, data(r#""ok""#)));
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    mock.unix(&socket);
    for client in [client(&mock).await, AgentKernel::unix(&socket).build().unwrap()] {
        let before = mock.connections();
        for _ in 0..5 {
            assert_eq!(client.health().await.unwrap(), "ok");
        }
        assert_eq!(mock.connections() - before, 1, "{client:?}");
    }
    assert_eq!(mock.asked()[9].header("host"), "localhost");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_no_error() {
    let mock = Mock::new(|_| whole(200, data(r#""ok""#))).closing();
    let client = client(&mock).await;
    for _ in 0..20 {
        assert_eq!(client.health().await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn refusals_have_their_class_and_code() {
    let mock = Mock::new(|asked| {
        let code = asked.line.rsplit('/').next().unwrap().to_owned();
        let code: ErrorCode = serde_json::from_value(code.into()).unwrap();
        let body = serde_json::to_string(&agentkernel_sdk::ErrorBody::new(code, "no")).unwrap();
        let mut response = whole(code.status(), body);
        response.headers_mut().insert("retry-after", "3".parse().unwrap());
        response
    });
    let client = client(&mock).await;
    for code in ErrorCode::ALL {
        let name = serde_json::to_value(code).unwrap();
        let error = client.get_sandbox(name.as_str().unwrap()).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        let refusal = error.refusal().unwrap();
        assert_eq!((refusal.status, refusal.retry_after), (code.status(), Some(Duration::from_secs(3))));
    }
}

#[tokio::test]
async fn names_and_paths_arrive_as_they_were_said() {
    let mock = Mock::new(|_| whole(200, "bytes"));
    let client = client(&mock).await;
    let read = client.sandbox("a/b").read_file("/x y/../%41?#ü").await.unwrap();
    assert_eq!(read, b"bytes");
    assert_eq!(mock.asked()[0].line, "GET /sandboxes/a%2Fb/files/x%20y/%2E%2E/%2541%3F%23%C3%BC");
    assert_eq!(mock.asked()[0].header("accept"), "application/octet-stream");
}

#[tokio::test]
async fn a_body_of_unknown_size_is_sent_as_it_comes() {
    let mock = Mock::new(|_| whole(200, data(r#""Wrote""#)));
    let content: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
    let reader = std::io::Cursor::new(content.clone());
    let sandbox = client(&mock).await.sandbox("s");
    sandbox.write_file_from("/f", 0o755, reader, None).await.unwrap();
    let asked = &mock.asked()[0];
    assert_eq!(asked.line, "PUT /sandboxes/s/files/f?mode=0755");
    assert_eq!(asked.header("content-type"), "application/octet-stream");
    assert!(asked.body == content);
}

#[tokio::test]
async fn too_large_an_answer_is_an_error_and_not_memory() {
    let mock = Mock::new(|_| whole(200, vec![b'x'; 100_000]));
    let client = AgentKernel::builder().base_url(mock.tcp().await).max_answer_bytes(99_999).build().unwrap();
    assert!(matches!(client.metrics().await, Err(Error::Answer { .. })));
    // What is wrong with an error's body doesn't hide the error.
    let mock = Mock::new(|_| whole(500, vec![b'x'; 1_000_000]));
    let error = self::client(&mock).await.stats().await.unwrap_err();
    assert_eq!(error.refusal().unwrap().status, 500);
}

#[tokio::test]
async fn silence_is_an_error_in_time_and_a_commands_own_time_is_added() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let mock = Mock::new(move |_| {
        let (response, sender) = open(200);
        held.lock().unwrap().push(sender);
        response
    });
    let timeout = Duration::from_millis(30);
    let client = AgentKernel::builder().base_url(mock.tcp().await).timeout(timeout).build().unwrap();
    let error = client.health().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { after, .. } if after == timeout), "{error}");
    let request = RunRequest { timeout_ms: Some(50), ..RunRequest::new(["x"]) };
    let error = client.run(&request).await.unwrap_err();
    assert!(
        matches!(error, Error::TimedOut { after, .. } if after == timeout * 2 + Duration::from_millis(20))
    );
}

#[tokio::test]
async fn nobody_there_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none");
    let error = AgentKernel::unix(&socket).build().unwrap().health().await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("none") && text.contains("agentkernel daemon start"), "{text}");
}

fn events() -> String {
    let done = RESULT.replace('\n', " ");
    format!(
        "event: started\ndata: {{\"command\":[\"a\"],\"fast\":true,\"timestamp\":\"t\"}}\n\n: keep-alive\n\n\
         event: of-the-future\ndata: {{}}\n\n\
         event: output\ndata: {{\"data\":\"x\",\"content\":\"x\",\"stream\":\"stdout\",\"encoding\":\"utf8\"}}\n\n\
         event: done\ndata: {{\"exit_code\":7,\"success\":false,\"result\":{done}}}\n\n"
    )
}

#[tokio::test]
async fn events_come_one_by_one_up_to_the_last() {
    let mock = Mock::new(|_| whole(200, events()));
    let mut stream = client(&mock).await.run_stream(&RunRequest::new(["a"])).await.unwrap();
    assert_eq!(mock.asked()[0].header("accept"), "text/event-stream");
    let mut found = Vec::new();
    while let Some(event) = stream.next().await.unwrap() {
        found.push(event);
    }
    assert!(
        matches!(
            &found[..],
            [
                StreamEvent::Started { fast: true, .. },
                StreamEvent::Output { .. },
                StreamEvent::Done { exit_code: 7, .. }
            ]
        ),
        "{found:?}"
    );
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test]
async fn events_are_there_before_the_next_is_sent() {
    let (hand, mut taken) = mpsc::unbounded_channel();
    let mock = Mock::new(move |_| {
        let (response, sender) = open(200);
        hand.send(sender).unwrap();
        response
    });
    let client = client(&mock).await;
    let mut stream = client.sandbox("s").exec_stream(&ExecRequest::new(["a"])).await.unwrap();
    let sender = taken.recv().await.unwrap();
    let events = events();
    let (first, rest) = events.split_at(events.find(": keep").unwrap());
    sender.send(Bytes::from(first.to_owned())).unwrap();
    assert!(matches!(stream.next().await.unwrap(), Some(StreamEvent::Started { .. })));
    sender.send(Bytes::from(rest.to_owned())).unwrap();
    assert!(matches!(stream.next().await.unwrap(), Some(StreamEvent::Output { .. })));
    // Who drops the stream closes the connection: that is how the server learns to end the command.
    drop(stream);
    sender.closed().await;
}

#[tokio::test]
async fn a_stream_without_its_last_event_is_an_error() {
    let cut = events().split("event: done").next().unwrap().to_owned();
    let mock = Mock::new(move |_| whole(200, cut.clone()));
    let mut stream = client(&mock).await.run_stream(&RunRequest::new(["a"])).await.unwrap();
    let error = loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it claims to be whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Stream { .. }), "{error}");
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 0, 0, 0], &length[..], payload].concat()
}

#[tokio::test]
async fn frames_are_exact() {
    let mock = Mock::new(|asked| {
        let last = if asked.line.contains("/sandboxes/") {
            frame(4, br#"{"success":false,"error":"it broke","code":"box_failed"}"#)
        } else {
            frame(3, RESULT.as_bytes())
        };
        whole(200, [frame(1, b"\xff\0a"), frame(2, b"err"), frame(1, b""), last].concat())
    });
    let client = client(&mock).await;
    let mut stream = client.run_frames(&RunRequest::new(["a"])).await.unwrap();
    assert_eq!(mock.asked()[0].header("accept"), "application/vnd.agentkernel.frames");
    assert_eq!(stream.next().await.unwrap(), Some(Frame::Stdout(Bytes::from_static(b"\xff\0a"))));
    assert_eq!(stream.next().await.unwrap(), Some(Frame::Stderr(Bytes::from_static(b"err"))));
    assert!(matches!(stream.next().await.unwrap(), Some(Frame::End(result)) if result.exit_code == 7));
    assert_eq!(stream.next().await.unwrap(), None);

    let mut stream = client.sandbox("s").exec_frames(&ExecRequest::new(["a"])).await.unwrap();
    let error = loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some(ErrorCode::BoxFailed));
}

#[tokio::test]
async fn a_log_goes_on_where_it_broke() {
    let output = |id: &str, text: &str| {
        format!(
            "id: {id}\nevent: output\ndata: {{\"data\":\"{text}\",\"content\":\"{text}\",\"stream\":\"stdout\",\"encoding\":\"base64\"}}\n\n"
        )
    };
    let mock = Mock::new(move |asked| match asked.header("last-event-id") {
        "" => whole(200, output("3+1", "YWJj")),
        "3+1" => {
            let execution = r#"{"id":"1","command":["a"],"pid":2,"detached":true,"status":"ended","exit_code":3,"age_ms":1}"#;
            let dropped = "id: 4\nevent: dropped\ndata: {\"bytes\":1}\n\n";
            let end = format!("event: done\ndata: {{\"exit_code\":3,\"execution\":{execution}}}\n\n");
            whole(200, dropped.to_owned() + &output("5", "ZGU=") + &end)
        }
        other => panic!("{other}"),
    });
    let client = client(&mock).await;
    let mut log = client.sandbox("s").logs("id/1", 0, true).await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap().bytes, b"abc");
    assert!(log.next().await.is_err());
    assert_eq!(log.position(), Some("3+1"));
    log.resume().await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap().bytes, b"de");
    assert_eq!(log.next().await.unwrap(), None);
    assert_eq!((log.dropped(), log.execution().unwrap().exit_code), (1, Some(3)));
    assert_eq!(
        mock.asked()[1].line,
        "GET /sandboxes/s/execs/id%2F1/logs?offset=0&follow=true&encoding=base64"
    );
}

#[tokio::test]
async fn an_image_is_fetched_with_its_progress() {
    let mock = Mock::new(|asked| {
        let last = if asked.body.ends_with(br#""a"}"#) {
            r#"event: done
data: {"image":{"id":"i","names":["a"],"size":7,"backend":"native"}}"#
        } else {
            r#"event: error
data: {"message":"no such image","code":"not_found"}"#
        };
        whole(
            200,
            format!("event: progress\ndata: {{\"stage\":\"image_pull\",\"detail\":\"half\"}}\n\n{last}\n\n"),
        )
    });
    let client = client(&mock).await;
    let request = |image: &str| agentkernel_sdk::PullRequest { image: image.to_owned(), backend: None };
    let mut told = Vec::new();
    let image = client.pull_image(&request("a"), |text| told.push(text.to_owned())).await.unwrap();
    assert_eq!((image.size, told), (7, vec!["half".to_owned()]));
    assert!(matches!(client.pull_image(&request("b"), |_| ()).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_borrowed_sandbox_is_removed_whatever_happens() {
    let mock = Mock::new(|asked| {
        let sandbox = r#"{"name":"w","id":"i","status":"running","backend":"native","image":"host",
            "profile":"moderate","created_at":"t"}"#;
        if asked.line.starts_with("POST") { whole(201, data(sandbox)) } else { whole(200, data(r#""ok""#)) }
    });
    let client = client(&mock).await;
    let failed: Result<(), Error> = client
        .with_sandbox(&CreateRequest::new("w"), async |sandbox| {
            assert_eq!(sandbox.name(), "w");
            Err(Error::Request { what: "nothing", problem: "of the work".to_owned() })
        })
        .await;
    assert!(failed.unwrap_err().to_string().contains("of the work"));
    assert_eq!(mock.asked()[1].line, "DELETE /sandboxes/w");
}

#[tokio::test]
async fn copies_are_asked_for_as_the_contract_says() {
    const SNAPSHOT: &str = r#"{"name":"s","source":"a b","source_id":"1","backend":"fake","image":"host",
        "created_at":"2026-01-02T03:04:05Z","bytes":7}"#;
    const SANDBOX: &str = r#"{"name":"c","id":"1","status":"running","backend":"fake","image":"host",
        "profile":"moderate","created_at":"2026-01-02T03:04:05Z"}"#;
    let mock = Mock::new(|asked| {
        let answer = match asked.line.as_str() {
            "POST /snapshots" | "GET /snapshots/s%2F" => SNAPSHOT.to_owned(),
            "GET /snapshots" => format!("[{SNAPSHOT}]"),
            "POST /sandboxes/a%20b/fork" => format!("[{SANDBOX}]"),
            "DELETE /snapshots/s" => r#""Snapshot removed""#.to_owned(),
            _ => SANDBOX.to_owned(),
        };
        whole(200, data(&answer))
    });
    let client = client(&mock).await;
    let sandbox = client.sandbox("a b");
    assert_eq!(sandbox.pause().await.unwrap().name, "c");
    sandbox.resume().await.unwrap();
    assert_eq!(sandbox.fork(&ForkRequest { count: Some(2), as_name: None }).await.unwrap().len(), 1);
    assert_eq!(sandbox.snapshot(Some("s")).await.unwrap().bytes, 7);
    assert_eq!(client.snapshots().await.unwrap().len(), 1);
    assert_eq!(client.get_snapshot("s/").await.unwrap().source, "a b");
    client.restore_snapshot("s", &RestoreRequest { as_name: Some("c".to_owned()) }).await.unwrap();
    client.remove_snapshot("s").await.unwrap();
    let lines: Vec<String> = mock.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(
        lines,
        [
            "POST /sandboxes/a%20b/pause",
            "POST /sandboxes/a%20b/resume",
            "POST /sandboxes/a%20b/fork",
            "POST /snapshots",
            "GET /snapshots",
            "GET /snapshots/s%2F",
            "POST /snapshots/s/restore",
            "DELETE /snapshots/s",
        ]
    );
    let body = |n: usize| serde_json::from_slice::<serde_json::Value>(&mock.asked()[n].body).unwrap();
    assert_eq!(body(2), serde_json::json!({"count": 2}));
    assert_eq!(body(3), serde_json::json!({"sandbox": "a b", "name": "s"}));
    assert_eq!(body(6), serde_json::json!({"as_name": "c"}));
}
