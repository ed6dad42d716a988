//! A client that goes away takes its command with it, whatever it was waiting for.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::Bench;

async fn begin(bench: &Bench, path: &str, accept: &str) -> TcpStream {
    let address = bench.listen().await;
    let body = json!({"image": "host", "command": ["sh", "-c", "echo on; sleep 600"]}).to_string();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: {accept}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let running = async {
        while bench.service.stats(&agentkernel_service::Caller::local("test")).await.unwrap().running == 0 {
            // sleep: between two looks at a number
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap();
    stream
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_any_more_ends() {
    let bench = Bench::new();
    let stream = begin(&bench, "/run", "application/json").await;
    assert!(!bench.fake.objects().is_empty());
    drop(stream);
    bench.idle().await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_any_more_ends() {
    for accept in ["text/event-stream", "application/vnd.agentkernel.frames"] {
        let bench = Bench::new();
        let mut stream = begin(&bench, "/run/stream", accept).await;
        let mut first = [0; 64];
        assert!(stream.read(&mut first).await.unwrap() > 0);
        assert!(!bench.fake.objects().is_empty());
        drop(stream);
        bench.idle().await;
    }
}

#[tokio::test]
async fn a_reader_that_stops_makes_the_command_wait() {
    let bench = Bench::new();
    let address = bench.listen().await;
    let body = json!({"image": "host", "command": ["yes"]}).to_string();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /run HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: application/vnd.agentkernel.frames\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 1 << 20];
    stream.read_exact(&mut buffer).await.unwrap();
    let written = || async {
        let text = bench.service.metrics(&agentkernel_service::Caller::local("test")).await.unwrap();
        text.lines().find_map(|line| line.strip_prefix("agentkernel_output_bytes_total ")).map(str::to_owned)
    };
    // Nothing is counted before the end; what can be seen is that memory holds: the box stays and the stream goes on.
    assert!(written().await.is_some());
    stream.read_exact(&mut buffer).await.unwrap();
    drop(stream);
    bench.idle().await;
}
