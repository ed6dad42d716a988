//! One request, one connection, one bounded answer.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, printable};
use crate::socket;

/// The most bytes of an answer's body.
pub const LARGEST_ANSWER_BYTES: usize = 64 * 1024;
/// The most bytes of an answer's head.
const LARGEST_HEAD_BYTES: usize = 16 * 1024;
/// How long Firecracker may take; it needs a millisecond for most requests.
const LIMIT: Duration = Duration::from_secs(10);

/// A Firecracker process, by its API socket.
#[derive(Debug)]
pub struct Client {
    folder: OwnedFd,
    name: &'static str,
    path: PathBuf,
    limit: Duration,
}

/// What is sent.
pub(super) enum Content<'a, Body> {
    Nothing,
    Json(&'a Body),
}

#[derive(Deserialize)]
struct Fault {
    fault_message: String,
}

impl Client {
    /// The socket `name` in `folder`; the path may have any length. Nothing is sent yet.
    ///
    /// # Errors
    /// What opening the folder gives.
    pub fn new(folder: &Path, name: &'static str) -> std::io::Result<Self> {
        Ok(Self { folder: socket::open_folder(folder)?, name, path: folder.join(name), limit: LIMIT })
    }

    /// The same with another limit of time for each request.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A copy of this client with another limit of time.
    pub(super) fn patient(&self, limit: Duration) -> std::io::Result<Self> {
        let folder = self.folder.try_clone()?;
        Ok(Self { folder, name: self.name, path: self.path.clone(), limit: self.limit.max(limit) })
    }

    /// For requests whose answer is only that they were done.
    pub(super) async fn send<Body: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        body: &Body,
    ) -> Result<(), ApiError> {
        self.call(method, path, Content::Json(body)).await.map(drop)
    }

    /// For questions.
    pub(super) async fn get<Answer: DeserializeOwned>(&self, path: &str) -> Result<Answer, ApiError> {
        let bytes = self.call::<()>(Method::GET, path, Content::Nothing).await?;
        serde_json::from_slice(&bytes).map_err(|error| ApiError::Broken {
            request: format!("GET {path}"),
            what: format!("its content is not what was asked for ({})", printable(&error.to_string())),
        })
    }

    async fn call<Body: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        content: Content<'_, Body>,
    ) -> Result<Bytes, ApiError> {
        let name = format!("{method} {path}");
        let broken = |what: String| ApiError::Broken { request: name.clone(), what };
        let body = match content {
            Content::Nothing => Bytes::new(),
            Content::Json(body) => serde_json::to_vec(body)
                .map_err(|error| broken(format!("it can't be asked: {error}")))?
                .into(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, HeaderValue::from_static("localhost"))
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))
            .map_err(|error| broken(format!("it can't be asked: {error}")))?;
        match tokio::time::timeout(self.limit, self.exchange(&name, request)).await {
            Ok(done) => done,
            Err(_) => Err(ApiError::TooSlow { request: name, limit: self.limit }),
        }
    }

    async fn exchange(&self, name: &str, request: Request<Full<Bytes>>) -> Result<Bytes, ApiError> {
        let broken = |what: &dyn std::fmt::Display| ApiError::Broken {
            request: name.to_owned(),
            what: printable(&what.to_string()),
        };
        let stream = socket::connect(&self.folder, self.name).await.map_err(|source| {
            ApiError::Unreachable { request: name.to_owned(), socket: self.path.clone(), source }
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(LARGEST_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            self.read(name, response).await
        };
        tokio::pin!(answered, connection);
        // The connection moves the bytes; that it ends says nothing before the answer is whole or found broken.
        tokio::select! {
            biased;
            answer = &mut answered => answer,
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, request = name, "firecracker's connection ended");
                }
                answered.await
            }
        }
    }

    async fn read(&self, name: &str, response: Response<Incoming>) -> Result<Bytes, ApiError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER_BYTES).collect().await;
        let bytes = body.map_err(|error| ApiError::Broken {
            request: name.to_owned(),
            what: match error.is::<LengthLimitError>() {
                true => format!("it is longer than {LARGEST_ANSWER_BYTES} bytes"),
                false => printable(&error.to_string()),
            },
        })?;
        let bytes = bytes.to_bytes();
        if status.is_success() {
            return Ok(bytes);
        }
        let fault_message = match serde_json::from_slice::<Fault>(&bytes) {
            Ok(fault) => printable(&fault.fault_message),
            Err(_) => format!("no reason given ({} bytes that are none)", bytes.len()),
        };
        Err(ApiError::Refused { request: name.to_owned(), status: status.as_u16(), fault_message })
    }
}
