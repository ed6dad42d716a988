//! Files and archives: bytes as they are, both ways, never whole in memory.

use std::sync::{Arc, OnceLock};

use agentkernel_backend::OutputStream;
use agentkernel_service::ServiceError;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, Limited};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::answer::Refusal;
use crate::extract::refused_body;

/// How much is read at a time: enough to hide the cost of a system call.
const CHUNK_BYTES: usize = 256 * 1024;

/// The answer that is made of these bytes. Its length is not announced: what the sandbox said of a file's size need not
/// hold. A failure in between cuts the connection, so that nobody takes a part for the whole.
pub(crate) fn of_bytes(bytes: OutputStream, media_type: &'static str) -> Response {
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(bytes, CHUNK_BYTES)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // Content of a sandbox is hostile: a browser must neither guess its type nor show it.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    response
}

/// Why an upload could not be read to its end: the sandbox only sees a stream that broke.
#[derive(Clone, Default)]
pub(crate) struct UploadEnd(Arc<OnceLock<Refusal>>);

impl UploadEnd {
    /// What to answer when the transfer has failed with `error`.
    pub(crate) fn refusal(&self, error: ServiceError) -> Refusal {
        self.0.get().cloned().unwrap_or_else(|| error.into())
    }
}

/// A request's body as bytes to read, `most` of them at most: the next one is an error, by which the transfer fails as a
/// whole.
pub(crate) fn from_body(body: Body, most: u64) -> (OutputStream, UploadEnd) {
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let end = UploadEnd::default();
    let seen = end.clone();
    let chunks = Limited::new(body, limit).into_data_stream().map_err(move |error| {
        let refusal = refused_body(&*error, most);
        let message = refusal.message.clone();
        // Only the first failure is the reason.
        if seen.0.set(refusal).is_err() {
            tracing::debug!(message, "an upload failed twice");
        }
        std::io::Error::other(message)
    });
    (Box::new(StreamReader::new(chunks)), end)
}
