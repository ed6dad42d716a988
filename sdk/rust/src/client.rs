//! The client, and how every request is sent.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::answer::{MAX_REFUSAL_BYTES, data, refusal};
use crate::body::Outgoing;
use crate::call::Call;
use crate::connect::Connector;
use crate::target::{Door, Target};
use crate::{Builder, ByteStream, Error, SandboxHandle};

/// What this client calls itself.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("agentkernel-rust-sdk/", env!("CARGO_PKG_VERSION")));
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(60);

/// A client of one server. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct AgentKernel {
    shared: Arc<Shared>,
}

struct Shared {
    http: Client<Connector, Outgoing>,
    door: Door,
    base: String,
    key: Option<HeaderValue>,
    timeout: Duration,
    max_answer_bytes: usize,
}

impl fmt::Debug for AgentKernel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AgentKernel").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl AgentKernel {
    /// Starts with the defaults: `http://localhost:18888`, no key, 30 seconds.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The daemon's socket, `STATE_DIR/daemon/agentkernel.sock`.
    pub fn unix(socket: impl Into<PathBuf>) -> Builder {
        Builder::default().socket(socket)
    }

    pub(crate) fn new(
        target: Target,
        key: Option<HeaderValue>,
        timeout: Duration,
        max_answer_bytes: usize,
    ) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(Connector::new(target.door.clone()));
        let shared = Shared { http, door: target.door, base: target.base, key, timeout, max_answer_bytes };
        Self { shared: Arc::new(shared) }
    }

    /// The server's address or socket, for messages.
    pub fn address(&self) -> String {
        self.shared.door.to_string()
    }

    /// The verbs on one sandbox. Nothing is asked or made yet.
    pub fn sandbox(&self, name: impl Into<String>) -> SandboxHandle {
        SandboxHandle::new(self.clone(), name.into())
    }

    /// The `data` of a call's answer.
    pub(crate) async fn data<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let bytes = self.whole(call).await?;
        data(&bytes, &self.address())
    }

    /// A call's answer as a whole: the time limit is for all of it.
    pub(crate) async fn whole(&self, call: Call) -> Result<Vec<u8>, Error> {
        let limit = self.shared.timeout.saturating_add(call.takes);
        self.within(limit, async {
            let mut bytes = self.open(call).await?;
            bytes.read_to_end(self.shared.max_answer_bytes).await
        })
        .await
    }

    /// A call whose answer is read as it comes: the time limit is for its beginning.
    pub(crate) async fn stream(&self, call: Call) -> Result<ByteStream, Error> {
        let limit = self.shared.timeout.saturating_add(call.takes);
        self.within(limit, self.open(call)).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(Error::TimedOut { to: self.address(), after: limit }),
        }
    }

    /// Sends; an answer that is none of success becomes its error.
    async fn open(&self, call: Call) -> Result<ByteStream, Error> {
        let request = self.request(call)?;
        let response: Response<Incoming> = self.shared.http.request(request).await.map_err(|error| {
            let (to, connecting) = (self.address(), error.is_connect());
            let source = Box::new(error);
            if connecting {
                Error::Connect { to, source }
            } else {
                Error::Network { to, action: "the request was sent or its answer awaited", source }
            }
        })?;
        let (parts, body) = response.into_parts();
        let mut bytes = ByteStream::new(body, self.address());
        if parts.status.is_success() {
            return Ok(bytes);
        }
        // An error whose text can't be read is still that error.
        let text = bytes.read_to_end(MAX_REFUSAL_BYTES).await.unwrap_or_default();
        Err(Error::of(refusal(&parts, &text)))
    }

    fn request(&self, call: Call) -> Result<Request<Outgoing>, Error> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.shared.base, call.route))
            .header(USER_AGENT, AGENT);
        if let Some(key) = &self.shared.key {
            request = request.header(AUTHORIZATION, key);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        request
            .body(call.body)
            .map_err(|error| Error::Request { what: "the request", problem: error.to_string() })
    }
}
