//! One request, put together.

use std::time::Duration;

use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;

use crate::Error;
use crate::body::{self, Outgoing};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
pub(crate) const FRAMES: HeaderValue = HeaderValue::from_static("application/vnd.agentkernel.frames");
pub(crate) const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub(crate) const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// A request without what every request of a client has: its base and its key.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query, encoded.
    pub(crate) route: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Outgoing,
    /// What the answer takes by its nature, on top of the client's own patience.
    pub(crate) takes: Duration,
}

impl Call {
    pub(crate) fn new(method: Method, route: impl Into<String>) -> Self {
        Self { method, route: route.into(), headers: Vec::new(), body: body::empty(), takes: Duration::ZERO }
    }

    pub(crate) fn get(route: impl Into<String>) -> Self {
        Self::new(Method::GET, route)
    }

    pub(crate) fn post(route: impl Into<String>) -> Self {
        Self::new(Method::POST, route)
    }

    pub(crate) fn put(route: impl Into<String>) -> Self {
        Self::new(Method::PUT, route)
    }

    pub(crate) fn delete(route: impl Into<String>) -> Self {
        Self::new(Method::DELETE, route)
    }

    /// A body of JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Error::Request { what: "the body", problem: error.to_string() })?;
        Ok(self.content(JSON, body::full(bytes)))
    }

    /// A body of another type.
    pub(crate) fn content(mut self, media_type: HeaderValue, body: Outgoing) -> Self {
        self.body = body;
        self.header(CONTENT_TYPE, media_type)
    }

    /// What the answer should be.
    pub(crate) fn accept(self, media_type: HeaderValue) -> Self {
        self.header(ACCEPT, media_type)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer takes this long where all goes well.
    pub(crate) fn takes(mut self, milliseconds: u64) -> Self {
        self.takes = self.takes.saturating_add(Duration::from_millis(milliseconds));
        self
    }
}
