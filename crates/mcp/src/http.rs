//! The server over streamable HTTP, to be mounted behind the HTTP API's guard.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use agentkernel_api::EventKind;
use agentkernel_service::{Caller, Service};
use http::Request;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;
use tower_service::Service as TowerService;

use crate::McpSettings;
use crate::caller::Callers;
use crate::handler::Handler;
use crate::sessions::Sessions;

/// How long a session lasts after the longest time that a command may be silent.
const AFTER_THE_LAST_COMMAND: Duration = Duration::from_secs(300);

/// How long commands are waited for when the server goes down, before what still listens is sent away.
const FAREWELL: Duration = Duration::from_secs(3600);

type Inner = StreamableHttpService<Handler, Sessions>;

/// The server as a `tower` service for one path, for all methods of it. Cheap to clone.
#[derive(Clone)]
pub struct HttpService(Inner);

impl HttpService {
    /// Over `service`. The guard in front of it checks `Host`, `Origin` and the key, bounds the body, and puts the
    /// [`Caller`] into the request's extensions: a request without one is refused. Must be called within a tokio
    /// runtime; sessions end when the service has been shut down and nothing runs any more.
    pub fn new(service: Service, settings: McpSettings) -> Self {
        let limits = service.limits();
        let idle = limits.max_timeout.saturating_add(AFTER_THE_LAST_COMMAND);
        let body = usize::try_from(limits.max_body_bytes).unwrap_or(usize::MAX);
        let config = StreamableHttpServerConfig::default()
            // The guard knows which hosts and origins are right; there must be one answer to that.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_max_request_body_bytes(body);
        tokio::spawn(end_with(service.clone(), config.cancellation_token.clone()));
        let handler = move || Ok(Handler::new(service.clone(), Callers::each_request(), settings.clone()));
        Self(StreamableHttpService::new(handler, Arc::new(Sessions::new(idle)), config))
    }
}

/// Waits for the service's end; then sends away who still listens, which would hold the HTTP server.
async fn end_with(service: Service, ended: CancellationToken) {
    let mut events = match service.subscribe(&Caller::local("mcp"), None).await {
        Ok(events) => events,
        Err(error) => return tracing::warn!(%error, "sessions will not end with the server"),
    };
    while !service.is_shutting_down() && events.next().await.kind != EventKind::ShuttingDown {}
    if !service.drained(FAREWELL).await {
        tracing::warn!("commands outlive the server's patience");
    }
    ended.cancel();
}

impl<B> TowerService<Request<B>> for HttpService
where
    Inner: TowerService<Request<B>>,
{
    type Response = <Inner as TowerService<Request<B>>>::Response;
    type Error = <Inner as TowerService<Request<B>>>::Error;
    type Future = <Inner as TowerService<Request<B>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call(request)
    }
}
