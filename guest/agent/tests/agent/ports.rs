//! Connections into the box.

use std::sync::Arc;

use agentkernel_backend::{BackendError, Guest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::TestBox;

#[tokio::test]
async fn both_directions_end_apart() {
    let Some(test) = TestBox::start().await else { return };
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(&all).await.unwrap();
        });
        let mut stream = test.guest.connect_port(port).await.unwrap();
        let content = vec![7; 3 << 20];
        stream.write_all(&content).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert!(back == content);
        server.await.unwrap();
        let refused = test.guest.connect_port(port).await.map(|_| ());
        assert!(matches!(refused, Err(BackendError::NotFound { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn processes_are_listed() {
    let Some(test) = TestBox::start().await else { return };
    let guest = Arc::clone(&test.guest);
    let execution = guest.exec(&crate::request(&["sleep", "4712"])).await.unwrap();
    let processes = test.guest.processes().await.unwrap();
    assert_eq!(processes.first().unwrap().pid, 1);
    let sleep = processes.iter().find(|process| process.command.as_bytes() == b"sleep 4712").unwrap();
    assert_eq!(sleep.uid, 0);
    let info = &guest.executions().await.unwrap()[0];
    assert_eq!((info.pid, info.detached), (sleep.pid, false));
    drop(execution);
}
