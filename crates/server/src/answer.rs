//! The envelope of every JSON answer, and the one way in which a request is refused.

use std::time::Duration;

use agentkernel_api::{Envelope, ErrorBody, ErrorCode};
use agentkernel_service::ServiceError;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The type of every body in the envelope.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a handler gives back.
pub(crate) type Answer = Result<Response, Refusal>;

/// A request that is not served, and why. The status derives from the code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// For programs.
    pub(crate) code: ErrorCode,
    /// For people.
    pub(crate) message: String,
    /// When to come again.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// Of this code.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// The request is wrong: a field, a value, a path.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    /// What is sent.
    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody::new(self.code, self.message.clone())
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        Self { code: error.code, message: error.message, retry_after: error.retry_after }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &self.body());
        if let Some(after) = self.retry_after {
            // Whole seconds, at least one: coming at once would only be refused again.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// 200 with `data` in the envelope.
pub(crate) fn ok<T: Serialize>(data: T) -> Response {
    json(StatusCode::OK, &Envelope::new(data))
}

/// 201 with `data` in the envelope, and where it now is.
pub(crate) fn created<T: Serialize>(data: T, location: &str) -> Response {
    let mut response = json(StatusCode::CREATED, &Envelope::new(data));
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
            response
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status_and_a_time_to_come_again_is_in_whole_seconds() {
        for code in ErrorCode::ALL {
            let refusal =
                Refusal { retry_after: Some(Duration::from_millis(1)), ..Refusal::new(code, "because") };
            let response = refusal.into_response();
            assert_eq!(response.status().as_u16(), code.status());
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        }
    }
}
