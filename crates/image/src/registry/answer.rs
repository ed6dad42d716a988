//! Answers of servers: what their status means, and reading their body without ever reading too much.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::ImageError;
use crate::error::tame;
use crate::registry::endpoint::Endpoint;
use crate::registry::failure::{Failure, MAYBE_TLS, of_transport};

/// How much of an error's text is read.
const COMPLAINT_BYTES_MAX: u64 = 16 << 10;

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_bounded(
    mut response: Response,
    limit: u64,
    what: &str,
    endpoint: &Endpoint,
) -> Result<Vec<u8>, Failure> {
    let too_large = |found| {
        Failure::Final(ImageError::TooLarge {
            what: format!("{what} from {}", endpoint.describe()),
            found,
            unit: "bytes",
            limit,
            fix: "",
        })
    };
    if let Some(length) = response.content_length().filter(|length| *length > limit) {
        return Err(too_large(length));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| of_transport(error, endpoint))? {
        let length = (body.len() + chunk.len()) as u64;
        if length > limit {
            return Err(too_large(length));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What an answer without success means. `what` was asked for.
pub(crate) async fn said(response: Response, endpoint: &Endpoint, what: &str) -> Failure {
    let status = response.status();
    let pause = retry_after(&response);
    let why = complaint(response, endpoint).await;
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Failure::Absent(why),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Failure::Denied { who: "everybody".to_owned(), why: format!(" ({}{why})", status.as_u16()) }
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Failure::Passing { why: format!("{status}{why}"), pause, is_connected: true }
        }
        status if status.is_server_error() => {
            Failure::Passing { why: format!("{status}{why}"), pause, is_connected: true }
        }
        status => {
            let hint = if endpoint.is_plain && status == StatusCode::BAD_REQUEST { MAYBE_TLS } else { "" };
            Failure::answer(endpoint, what, format!("{status}{why}{hint}"))
        }
    }
}

/// Seconds only: a date would need the server's clock to be right, and we wait our own time then.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// What a registry says for people, made harmless, with `: ` before it (distribution-spec, "Error Codes").
async fn complaint(response: Response, endpoint: &Endpoint) -> String {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    #[derive(Deserialize)]
    struct Complaint {
        errors: Vec<Entry>,
    }
    let body = read_bounded(response, COMPLAINT_BYTES_MAX, "an error", endpoint).await.unwrap_or_default();
    let Ok(complaint) = serde_json::from_slice::<Complaint>(&body) else { return String::new() };
    let Some(Entry { code, message }) = complaint.errors.into_iter().next() else { return String::new() };
    match (code.is_empty(), message.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(": {}", tame(&code)),
        (true, false) => format!(": {}", tame(&message)),
        (false, false) => format!(": {}: {}", tame(&code), tame(&message)),
    }
}
