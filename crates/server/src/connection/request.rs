//! From hyper's requests to the router's.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;
use tower_service::Service as _;

use super::Phase;
use super::body::{AnswerBody, WatchedBody};
use super::phase::Doing;
use crate::UnixSocket;
use crate::guard::Door;

/// What serves the requests of one connection.
pub(crate) struct RequestService {
    pub(crate) router: Router,
    pub(crate) door: Door,
    pub(crate) phase: Arc<Phase>,
    pub(crate) body_timeout: Duration,
    /// The unix socket itself, where it is one.
    pub(crate) socket: Option<UnixSocket>,
}

impl Service<Request<Incoming>> for RequestService {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.phase.set(Doing::Busy);
        let phase = Arc::clone(&self.phase);
        let mut request = request.map(|body| {
            if body.is_end_stream() {
                Body::empty()
            } else {
                Body::new(WatchedBody::new(body, Arc::clone(&phase), self.body_timeout))
            }
        });
        request.extensions_mut().insert(self.door);
        if let Some(socket) = &self.socket {
            request.extensions_mut().insert(socket.clone());
        }
        let answer = self.router.clone().call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let next = if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                Doing::Upgraded
            } else {
                Doing::Idle
            };
            Ok(answer.map(|body| AnswerBody::new(body, phase, next)))
        })
    }
}
