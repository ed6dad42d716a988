//! A server on real sockets against clients without manners.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::routing::{get, post};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::extract::refused_body;
use crate::{Closing, ConnectionLimits, Listener, LocalPeers, bind_tcp, serve};

struct Running {
    address: std::net::SocketAddr,
    closing: watch::Sender<Closing>,
    task: JoinHandle<()>,
}

async fn whole(request: Request) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    match request.into_body().collect().await {
        Ok(body) => format!("{} bytes", body.to_bytes().len()).into_response(),
        Err(error) => refused_body(&error, 0).into_response(),
    }
}

async fn start(limits: ConnectionLimits) -> Running {
    let router = Router::new()
        .route("/fast", get(|| async { "fast" }))
        .route("/whole", post(whole))
        .route("/refuse", post(|| async { "no" }))
        .route(
            "/slow",
            get(|| async {
                let parts = futures_util::stream::unfold(0, |count| async move {
                    let mut ticks = tokio::time::interval(Duration::from_millis(100));
                    ticks.tick().await;
                    ticks.tick().await;
                    (count < 10).then(|| (Ok::<_, std::io::Error>(Bytes::from_static(b"x")), count + 1))
                });
                Body::from_stream(parts)
            }),
        );
    let listener = bind_tcp(&["127.0.0.1".parse().unwrap()], 0).await.unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let (closing, told) = watch::channel(Closing::Open);
    let doors = vec![Listener::Tcp { listener, tls: None }];
    let task = tokio::spawn(serve(doors, router, limits, LocalPeers::nobody(), told));
    Running { address, closing, task }
}

fn short() -> ConnectionLimits {
    let short = Duration::from_millis(300);
    ConnectionLimits {
        head_timeout: short,
        idle_timeout: short,
        body_timeout: short,
        ..ConnectionLimits::default()
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What the server says to `text` until it closes, and how long that took.
    async fn said(&self, text: &str) -> (String, Duration) {
        let begun = Instant::now();
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        (rest(&mut stream).await, begun.elapsed())
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes));
    // A reset ends it as well.
    drop(read.await.expect("the connection is kept"));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn idle_connections_and_slow_heads_are_ended() {
    let server = start(short()).await;
    let (said, taken) = server.said("").await;
    assert!(said.is_empty() && taken >= Duration::from_millis(250), "{said} {taken:?}");
    let (said, _) = server.said("GET /fast HTTP/1.1\r\nHost: x\r\nX-").await;
    assert!(said.is_empty(), "{said}");
    // One answer, and then the same patience again.
    let (said, taken) = server.said("GET /fast HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(said.ends_with("fast") && taken >= Duration::from_millis(250), "{said} {taken:?}");
    // Drop by drop: each in time, and all of it not.
    let mut stream = server.connect().await;
    stream.write_all(b"GET /fast HTTP/1.1\r\nX: ").await.unwrap();
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while stream.write_all(b"y").await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        ticks.tick().await;
    }
}

#[tokio::test]
async fn an_answer_may_take_as_long_as_it_takes() {
    let server = start(short()).await;
    let (said, taken) = server.said("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(said.matches("\r\nx\r\n").count(), 10, "{said}");
    assert!(taken >= Duration::from_millis(900), "{taken:?}");
}

#[tokio::test]
async fn slow_bodies_are_refused_and_others_are_whole() {
    let server = start(short()).await;
    let head = |length: usize| {
        format!("POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    let (said, _) = server.said(&format!("{}{}", head(5), "hello")).await;
    assert!(said.ends_with("5 bytes"), "{said}");
    let (said, _) = server.said(&format!("{}{}", head(50), "hello")).await;
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("request_timeout"), "{said}");
    let mut stream = server.connect().await;
    stream.write_all(head(1 << 20).as_bytes()).await.unwrap();
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while stream.write_all(b"y").await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "a body that drips was waited for");
        ticks.tick().await;
    }
}

#[tokio::test]
async fn a_refusal_is_read_though_the_client_goes_on_sending() {
    let server = start(short()).await;
    let mut stream = server.connect().await;
    let head = "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let chunk = vec![b'z'; 1 << 20];
    let mut answer = Vec::new();
    let send = async {
        while writer.write_all(&chunk).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = send => {}
        read = reader.read_to_end(&mut answer) => drop(read),
    }
    assert!(
        String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn heads_have_bounds() {
    let server = start(ConnectionLimits { head_bytes: 8192, headers: 10, ..short() }).await;
    let many: String = (0..20).map(|n| format!("X-{n}: y\r\n")).collect();
    for head in [many, format!("X: {}\r\n", "y".repeat(20_000))] {
        let (said, _) = server.said(&format!("GET /fast HTTP/1.1\r\nHost: x\r\n{head}\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    }
}

#[tokio::test]
async fn one_more_than_there_is_room_for_is_told_so() {
    let server = start(ConnectionLimits { connections_per_peer: 2, ..ConnectionLimits::default() }).await;
    let first = server.connect().await;
    let mut second = server.connect().await;
    let mut third = server.connect().await;
    let said = rest(&mut third).await;
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("\"busy\""), "{said}");
    second.write_all(b"GET /fast HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut second).await.ends_with("fast"));
    drop(first);
}

#[tokio::test]
async fn the_end_waits_for_requests_and_not_for_idle_connections() {
    let server = start(ConnectionLimits::default()).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    idle.read_exact(&mut head).await.unwrap();
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    busy.read_exact(&mut head).await.unwrap();
    server.closing.send_replace(Closing::Draining);
    assert!(rest(&mut idle).await.ends_with("fast"));
    let said = rest(&mut busy).await;
    assert_eq!(said.matches("\r\nx\r\n").count(), 10, "{said}");
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn the_end_at_once_waits_for_nobody() {
    let server = start(ConnectionLimits::default()).await;
    let _idle = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    busy.read_exact(&mut head).await.unwrap();
    let begun = Instant::now();
    server.closing.send_replace(Closing::Now);
    server.task.await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500));
}
