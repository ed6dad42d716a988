//! Connections to ports inside.

use agentkernel_backend::{Execution, Guest, TcpStreamInside};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::ask::{TCP_ECHO_SCRIPT, eventually, pattern, request, within};
use super::super::scene::Scene;

const PORT: u16 = 7007;

async fn serve(guest: &dyn Guest) -> Execution {
    let wish = request(&["sh", "-c", TCP_ECHO_SCRIPT, "tcp-echo", &PORT.to_string()]);
    let server = guest.exec(&wish).await.expect("started");
    eventually("the server", || async { guest.connect_port(PORT).await.is_ok() }).await;
    server
}

async fn echo(stream: Box<dyn TcpStreamInside>, sent: Vec<u8>) {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut back = Vec::new();
    let write = async {
        to.write_all(&sent).await.expect("written");
        to.shutdown().await.expect("half closed");
    };
    let ((), read) = within("the echo", async { tokio::join!(write, from.read_to_end(&mut back)) }).await;
    read.expect("readable after the half close");
    assert!(back == sent, "{} of {} bytes came back, or wrong ones", back.len(), sent.len());
}

pub(in super::super) async fn both_ways(scene: &Scene) {
    let guest = scene.guest().await;
    let server = serve(&*guest).await;
    for length in [0, 1, 4 << 20] {
        echo(guest.connect_port(PORT).await.expect("connected"), pattern(length)).await;
    }
    drop(server);
}

pub(in super::super) async fn many_at_once(scene: &Scene) {
    let guest = scene.guest().await;
    let server = serve(&*guest).await;
    let mut tasks = Vec::new();
    for _ in 0..10 {
        let stream = guest.connect_port(PORT).await.expect("connected");
        tasks.push(tokio::spawn(echo(stream, pattern(300_000))));
    }
    for task in tasks {
        within("an echo", task).await.expect("no panic");
    }
    drop(server);
}

pub(in super::super) async fn refused(scene: &Scene) {
    let guest = scene.guest().await;
    let result = within("an answer", guest.connect_port(PORT)).await.map(drop);
    assert!(result.is_err(), "connected to a port where nobody listens");
    assert_eq!(super::super::ask::shell(&*guest, "echo fine").await, "fine\n");
}

pub(in super::super) async fn host_is_not_meant(scene: &Scene) {
    let guest = scene.guest().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port of the host");
    let port = listener.local_addr().expect("an address").port();
    let result = within("an answer", guest.connect_port(port)).await.map(drop);
    assert!(result.is_err(), "a port inside was asked for, and the host's answered");
}
