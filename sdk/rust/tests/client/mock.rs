//! A server of a few lines that answers as a test tells it.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Pieces of a body, sent one by one; it ends where the sender is dropped.
pub(crate) struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// An answer, and the sender of its body.
pub(crate) fn open(status: u16) -> (Response<Pieces>, mpsc::UnboundedSender<Bytes>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Response::builder().status(status).body(Pieces(receiver)).unwrap(), sender)
}

/// An answer that is whole.
pub(crate) fn whole(status: u16, body: impl Into<Bytes>) -> Response<Pieces> {
    let (response, sender) = open(status);
    sender.send(body.into()).unwrap();
    response
}

type Answer = dyn Fn(&Asked) -> Response<Pieces> + Send + Sync;

/// What the mock has seen.
#[derive(Clone)]
pub(crate) struct Mock {
    answer: Arc<Answer>,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
    keep_open: bool,
}

impl Mock {
    pub(crate) fn new(answer: impl Fn(&Asked) -> Response<Pieces> + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), asked: Arc::default(), connections: Arc::default(), keep_open: true }
    }

    /// Closes each connection after one answer, without saying so before.
    pub(crate) fn closing(mut self) -> Self {
        self.keep_open = false;
        self
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Listens on TCP; returns the base URL.
    pub(crate) async fn tcp(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mock = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                mock.serve(stream);
            }
        });
        url
    }

    pub(crate) fn unix(&self, path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        let mock = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                mock.serve(stream);
            }
        });
    }

    fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let mock = self.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| mock.answer(request));
            let served = http1::Builder::new()
                .keep_alive(mock.keep_open)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(served);
        });
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Pieces>, hyper::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        let asked = Asked { line: format!("{} {}", parts.method, parts.uri), headers: parts.headers, body };
        self.asked.lock().unwrap().push(asked.clone());
        Ok((self.answer)(&asked))
    }
}
