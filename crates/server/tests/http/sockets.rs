//! Commands, terminals and ports over WebSockets.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::bench::Bench;

type Socket = WebSocketStream<TcpStream>;

async fn connect(bench: &Bench, path: &str) -> Socket {
    let address = bench.listen().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(format!("ws://{address}{path}"), stream).await.unwrap();
    socket
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

async fn typed(socket: &mut Socket, bytes: &[u8]) {
    socket.send(Message::binary([&[0], bytes].concat())).await.unwrap();
}

/// What the server says and shows, until it says something of this type: bytes by stream, and that last word.
async fn until(socket: &mut Socket, kind: &str) -> ([Vec<u8>; 3], Value) {
    let mut bytes: [Vec<u8>; 3] = Default::default();
    loop {
        let message = tokio::time::timeout(Duration::from_secs(20), socket.next()).await.unwrap();
        match message.unwrap_or_else(|| panic!("closed before {kind}")).unwrap() {
            Message::Binary(data) => bytes[usize::from(data[0])].extend_from_slice(&data[1..]),
            Message::Text(text) => {
                let value: Value = serde_json::from_str(&text).unwrap();
                if value["type"] == kind {
                    return (bytes, value);
                }
                assert_ne!(value["type"], "error", "{value}");
            }
            Message::Close(frame) => panic!("closed before {kind}: {frame:?}"),
            _ => {}
        }
    }
}

async fn is_closed(socket: &mut Socket) -> u16 {
    loop {
        match tokio::time::timeout(Duration::from_secs(20), socket.next()).await.unwrap() {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            None | Some(Err(_)) => return 0,
            Some(Ok(_)) => {}
        }
    }
}

#[tokio::test]
async fn a_command_gets_input_and_gives_output_and_its_end() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let mut socket = connect(&bench, "/sandboxes/one/exec/connect").await;
    say(&mut socket, json!({"type": "exec", "exec": {"command": ["sh", "-c", "cat; echo err >&2; exit 5"]}}))
        .await;
    until(&mut socket, "started").await;
    typed(&mut socket, b"ab\xff").await;
    typed(&mut socket, b"c").await;
    say(&mut socket, json!({"type": "eof"})).await;
    let (bytes, exit) = until(&mut socket, "exit").await;
    assert_eq!((bytes[1].as_slice(), bytes[2].as_slice()), (&b"ab\xffc"[..], &b"err\n"[..]));
    assert_eq!(exit["result"]["exit_code"], 5);
    assert_eq!(is_closed(&mut socket).await, 1000);
}

#[tokio::test]
async fn a_signal_reaches_the_command() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let mut socket = connect(&bench, "/sandboxes/one/exec/connect").await;
    say(&mut socket, json!({"type": "exec", "exec": {"command": ["sleep", "600"]}})).await;
    until(&mut socket, "started").await;
    say(&mut socket, json!({"type": "signal", "signal": "TERM"})).await;
    let (_, exit) = until(&mut socket, "exit").await;
    assert_eq!((&exit["result"]["exit_code"], &exit["result"]["signal"]), (&json!(143), &json!("SIGTERM")));
}

#[tokio::test]
async fn what_is_out_of_turn_ends_the_conversation() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let exec = json!({"type": "exec", "exec": {"command": ["sleep", "600"]}}).to_string();
    let wrong: [(&str, Vec<Message>); 5] = [
        ("no command first", vec![Message::text(r#"{"type":"eof"}"#)]),
        ("no JSON", vec![Message::text("nonsense")]),
        ("bytes first", vec![Message::binary(vec![0, 1])]),
        ("a second command", vec![Message::text(exec.clone()), Message::text(exec.clone())]),
        ("another stream", vec![Message::text(exec.clone()), Message::binary(vec![1, 2])]),
    ];
    for (what, messages) in wrong {
        let mut socket = connect(&bench, "/sandboxes/one/exec/connect").await;
        for message in messages {
            socket.send(message).await.unwrap();
        }
        let (_, error) = until_error(&mut socket).await;
        assert_eq!(error["code"], "invalid", "{what}");
        assert_eq!(is_closed(&mut socket).await, 1008, "{what}");
    }
    let mut socket = connect(&bench, "/sandboxes/none/exec/connect").await;
    say(&mut socket, json!({"type": "exec", "exec": {"command": ["true"]}})).await;
    assert_eq!(until_error(&mut socket).await.1["code"], "not_found");
}

async fn until_error(socket: &mut Socket) -> ((), Value) {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(20), socket.next()).await.unwrap();
        if let Message::Text(text) = message.unwrap().unwrap() {
            let value: Value = serde_json::from_str(&text).unwrap();
            if value["type"] == "error" {
                return ((), value);
            }
        }
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_connection_and_the_command() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let mut socket = connect(&bench, "/sandboxes/one/exec/connect").await;
    say(&mut socket, json!({"type": "exec", "exec": {"command": ["cat"]}})).await;
    until(&mut socket, "started").await;
    let sent = socket.send(Message::binary(vec![0; (1 << 20) + 1])).await;
    assert!(matches!(sent, Ok(()) | Err(Error::Io(_) | Error::ConnectionClosed | Error::Protocol(_))));
    is_closed(&mut socket).await;
    none_runs(&bench).await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_command_with_it() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let mut socket = connect(&bench, "/sandboxes/one/exec/connect").await;
    say(&mut socket, json!({"type": "exec", "exec": {"command": ["yes"]}})).await;
    until(&mut socket, "started").await;
    drop(socket);
    none_runs(&bench).await;
}

async fn none_runs(bench: &Bench) {
    let caller = agentkernel_service::Caller::local("test");
    let none = async {
        while bench.service.stats(&caller).await.unwrap().running > 0 {
            // sleep: between two looks at a number
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), none).await.unwrap();
}

#[tokio::test]
async fn a_terminal_outlives_its_client_and_shows_what_it_has_shown() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let request = json!({"exec": {"command": ["sh", "-c", "echo hello; cat"]}, "rows": 10, "columns": 20});
    let reply = bench.post("/sandboxes/one/terminals", request).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let id = reply.data()["id"].as_str().unwrap().to_owned();
    let path = format!("/sandboxes/one/terminals/{id}");

    let mut first = connect(&bench, &path).await;
    assert_eq!(until(&mut first, "attached").await.1["dropped"], 0);
    shown(&mut first, b"hello").await;
    let mut second = connect(&bench, &path).await;
    until(&mut second, "attached").await;
    until(&mut first, "taken").await;
    shown(&mut second, b"hello").await;
    say(&mut second, json!({"type": "resize", "rows": 30, "columns": 100})).await;
    typed(&mut second, b"typed\n").await;
    shown(&mut second, b"typed").await;
    drop(second);

    assert_eq!(bench.get("/sandboxes/one/terminals").await.data()[0]["id"], id.as_str());
    let mut third = connect(&bench, &path).await;
    until(&mut third, "attached").await;
    shown(&mut third, b"typed").await;
    assert_eq!(bench.delete(&path).await.data(), "Terminal closed");
    is_closed(&mut third).await;
    bench.delete(&path).await.assert_refused(404, "not_found");
}

/// Waits until the terminal has shown this.
async fn shown(socket: &mut Socket, wanted: &[u8]) {
    let mut all = Vec::new();
    while !all.windows(wanted.len()).any(|window| window == wanted) {
        let message = tokio::time::timeout(Duration::from_secs(20), socket.next()).await.unwrap();
        if let Message::Binary(data) = message.unwrap().unwrap() {
            assert_eq!(data[0], 1);
            all.extend_from_slice(&data[1..]);
        }
    }
}

#[tokio::test]
async fn a_port_is_a_stream_of_bytes() {
    let bench = Bench::new();
    bench.sandbox("one").await;
    let server = json!({"command": ["sh", "-c", "echo server", "tcp-echo", "8000"]});
    assert_eq!(bench.post("/sandboxes/one/execs", server).await.status, 201);
    let address = bench.listen().await;
    let connected = async {
        loop {
            let stream = TcpStream::connect(address).await.unwrap();
            let url = format!("ws://{address}/sandboxes/one/ports/8000");
            match tokio_tungstenite::client_async(url, stream).await {
                Ok((socket, _)) => return socket,
                // sleep: the server inside is not there yet, and tells nobody when it is
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let mut socket = tokio::time::timeout(Duration::from_secs(20), connected).await.unwrap();
    socket.send(Message::binary(b"\x00\x01ping".to_vec())).await.unwrap();
    let mut echoed = Vec::new();
    while echoed.len() < 6 {
        if let Message::Binary(data) = socket.next().await.unwrap().unwrap() {
            echoed.extend_from_slice(&data);
        }
    }
    assert_eq!(echoed, b"\x00\x01ping");
    say(&mut socket, json!({"type": "eof"})).await;
    assert_eq!(is_closed(&mut socket).await, 1000);
}
