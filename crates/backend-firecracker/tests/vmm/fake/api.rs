//! HTTP for the fake Firecracker, and what goes wrong with it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::guest;
use super::plan::{Plan, Wrong};
use super::state::{Effect, State};

pub(crate) struct Served {
    pub(crate) plan: Plan,
    pub(crate) state: Mutex<State>,
}

/// One connection. A request that goes wrong is recognised by its first line, and answered by hand.
pub(crate) async fn serve(served: Arc<Served>, mut stream: UnixStream) -> std::io::Result<()> {
    if let Some(fault) = &served.plan.fault {
        let mut first = vec![0; fault.at.len() + 1];
        peek(&stream, &mut first).await?;
        if first == format!("{} ", fault.at).as_bytes() {
            return go_wrong(&mut stream, fault.wrong).await;
        }
    }
    let handle = |request: Request<Incoming>| {
        let served = Arc::clone(&served);
        async move { Ok::<_, Infallible>(answer(&served, request).await) }
    };
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), hyper::service::service_fn(handle));
    connection.await.map_err(std::io::Error::other)
}

/// The first bytes, left where they are, or less of them where the line is shorter.
async fn peek(stream: &UnixStream, first: &mut [u8]) -> std::io::Result<()> {
    loop {
        stream.readable().await?;
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(stream, &mut *first, flags) {
            Err(rustix::io::Errno::AGAIN) => tokio::task::yield_now().await,
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(()),
        }
    }
}

async fn go_wrong(stream: &mut UnixStream, wrong: Wrong) -> std::io::Result<()> {
    // As much of the request as comes at once.
    let count = stream.read(&mut [0; 4096]).await?;
    assert!(count > 0);
    let answer = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let text = match wrong {
        Wrong::Refuse => answer("400 Bad Request", r#"{"fault_message":"the \u001b[31mfault\nmessage"}"#),
        Wrong::RefuseBadly => answer("500 Internal Server Error", "oops"),
        Wrong::Hang => return std::future::pending().await,
        Wrong::Die => std::process::abort(),
        Wrong::Garbage => "\u{1b}]0;what is this\r\n\r\n".to_owned(),
        Wrong::Cut => "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{".to_owned(),
        Wrong::OtherContent => answer("200 OK", r#"{"firecracker_version":17}"#),
        Wrong::EndlessBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").await?;
            return endless(stream, b"{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}").await;
        }
        Wrong::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            return endless(stream, b"X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await;
        }
    };
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

pub(crate) async fn endless(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(bytes).await?;
    }
}

async fn answer(served: &Served, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let json = request.headers().get("content-type").is_some_and(|kind| kind == "application/json");
    let body = request.into_body().collect().await.expect("a whole request").to_bytes();
    let handled = match json {
        true => served.state.lock().expect("one thread").handle(&method, &path, &body),
        false => Err("rule: content is JSON".to_owned()),
    };
    let (status, content, effect) = match handled {
        Ok((Some(content), effect)) => (200, content.to_string(), effect),
        Ok((None, effect)) => (204, String::new(), effect),
        Err(why) => (400, serde_json::json!({ "fault_message": why }).to_string(), Effect::None),
    };
    let vsock = served.state.lock().expect("one thread").vsock.take_if(|_| !matches!(effect, Effect::None));
    match effect {
        Effect::None => {}
        Effect::Boots => guest::boot(&served.plan, vsock),
        Effect::Restored => guest::listen(&served.plan, vsock),
    }
    let response = Response::builder().status(status).header("Content-Type", "application/json");
    response.body(Full::new(content.into())).expect("a plain response")
}
