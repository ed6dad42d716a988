//! JSON bodies, strictly: the right content type, one value, no unknown field; what is wrong is named with its place.

use agentkernel_api::ErrorCode;
use agentkernel_service::Service;
use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::answer::Refusal;

/// A body of JSON. Its type must be said: a browser's form, which can't say it, must not be able to run anything.
pub(crate) struct Json<T>(pub(crate) T);

/// The same, or nothing at all (or `null`), which stands for the default.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Service> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, service: &Service) -> Result<Self, Refusal> {
        if !is_type(request.headers(), "application/json") {
            return Err(wrong_type(request.headers(), "application/json"));
        }
        parse(&whole(request.into_body(), service.limits().max_body_bytes).await?).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<Service> for OptionalJson<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, service: &Service) -> Result<Self, Refusal> {
        let typed = is_type(request.headers(), "application/json");
        let wrong = wrong_type(request.headers(), "application/json");
        let body = whole(request.into_body(), service.limits().max_body_bytes).await?;
        match (body.is_empty(), typed) {
            (true, _) => Ok(Self(T::default())),
            (false, true) => parse::<Option<T>>(&body).map(|value| Self(value.unwrap_or_default())),
            (false, false) => Err(wrong),
        }
    }
}

/// Whether the body is of this media type, whatever its parameters.
pub(crate) fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// The refusal of a body of another type.
pub(crate) fn wrong_type(headers: &HeaderMap, wanted: &str) -> Refusal {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let message = match given {
        Some(given) => format!("content type {given:?} is not taken here: send {wanted}"),
        None => format!("the body has no Content-Type: send {wanted}"),
    };
    Refusal::new(ErrorCode::UnsupportedMediaType, message)
}

async fn whole(body: Body, most: u64) -> Result<Bytes, Refusal> {
    // What says that it is too large is not waited for.
    if body.size_hint().lower() > most {
        return Err(Refusal::new(ErrorCode::TooLarge, format!("the body is larger than {most} bytes")));
    }
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(refused_body(&*error, most)),
    }
}

/// Why a body could not be read. Whoever guards the connection puts its own refusal into the body's error.
pub(crate) fn refused_body(error: &(dyn std::error::Error + 'static), most: u64) -> Refusal {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return refusal.clone();
        }
        if error.is::<LengthLimitError>() {
            return Refusal::new(ErrorCode::TooLarge, format!("the body is larger than {most} bytes"));
        }
        cause = error.source();
    }
    Refusal::invalid(format!("the body could not be read: {error}"))
}

/// Syntax errors and wrong values are told apart: `serde_json` counts a value nested too deep among the former.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        match cause.classify() {
            serde_json::error::Category::Data if path == "." => Refusal::invalid(cause.to_string()),
            serde_json::error::Category::Data => Refusal::invalid(format!("{path}: {cause}")),
            _ => not_json(&cause),
        }
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// With the first words of the v0.4 wire format.
fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(ErrorCode::InvalidJson, format!("Invalid JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use agentkernel_api::{ExecRequest, RunRequest};
    use axum::http::HeaderValue;

    use super::*;

    fn refusal<T: DeserializeOwned>(text: &str) -> Refusal {
        parse::<T>(text.as_bytes()).err().unwrap()
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let unknown = refusal::<ExecRequest>(r#"{"command":["a"],"tiemout_ms":1}"#);
        assert_eq!(unknown.code, ErrorCode::Invalid);
        assert!(unknown.message.starts_with("tiemout_ms: unknown field `tiemout_ms`"), "{}", unknown.message);
        let wrong = refusal::<RunRequest>(r#"{"command":["a"],"files":[{"path":7}]}"#);
        assert!(wrong.message.starts_with("files[0].path: invalid type"), "{}", wrong.message);
        assert_eq!(refusal::<ExecRequest>("{}").code, ErrorCode::Invalid);
        assert_eq!(refusal::<ExecRequest>("[]").code, ErrorCode::Invalid);
    }

    #[test]
    fn what_is_not_json_is_said_in_the_words_of_v04() {
        for text in ["", "{", "{} x", "{\"command\":[\"\\ud800\"]}", "\u{feff}{}"] {
            let refusal = refusal::<RunRequest>(text);
            assert_eq!(refusal.code, ErrorCode::InvalidJson, "{text:.20}");
            assert!(refusal.message.starts_with("Invalid JSON: "));
        }
    }

    #[test]
    fn depth_is_bounded_inside_values_too() {
        let deep = format!(r#"{{"command":["a"],"env":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(refusal::<ExecRequest>(&deep).code, ErrorCode::InvalidJson | ErrorCode::Invalid));
    }

    #[test]
    fn a_type_is_compared_without_parameters_or_case() {
        let mut headers = HeaderMap::new();
        assert!(!is_type(&headers, "application/json"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("Application/JSON; charset=utf-8"));
        assert!(is_type(&headers, "application/json"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(!is_type(&headers, "application/json"));
    }
}
