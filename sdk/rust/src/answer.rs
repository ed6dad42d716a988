//! From an answer's bytes to what a call returns.

use std::time::Duration;

use agentkernel_api::{Envelope, ErrorCode};
use hyper::header::RETRY_AFTER;
use hyper::http::response::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Refusal};

/// The most bytes of an error's body that are looked at.
pub(crate) const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// The most characters of a body that is no error of ours that a message quotes.
const QUOTED: usize = 200;

/// The error of an answer, in whatever shape: a proxy between may have written it.
#[derive(Deserialize)]
struct Told {
    error: String,
    #[serde(default)]
    code: Value,
}

/// What is in the envelope.
pub(crate) fn data<T: DeserializeOwned>(bytes: &[u8], to: &str) -> Result<T, Error> {
    let wrong = |problem: String| Error::Answer { to: to.to_owned(), problem };
    let envelope: Envelope<T> = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if envelope.success { Ok(envelope.data) } else { Err(wrong("it says `success: false`".to_owned())) }
}

/// Why there is no answer.
pub(crate) fn refusal(parts: &Parts, body: &[u8]) -> Refusal {
    let seconds = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let status = parts.status.as_u16();
    let (code, message) = match serde_json::from_slice::<Told>(body) {
        Ok(told) => (serde_json::from_value::<ErrorCode>(told.code).ok(), told.error),
        Err(_) => (None, foreign(status, body)),
    };
    Refusal { status, code, message, retry_after: seconds.map(Duration::from_secs) }
}

fn foreign(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let quoted: String = text.trim().chars().take(QUOTED).collect();
    if quoted.is_empty() { format!("status {status}") } else { format!("status {status}: {quoted}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(status: u16, retry_after: Option<&str>) -> Parts {
        let mut response = hyper::Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header(RETRY_AFTER, value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_envelope_is_opened() {
        assert_eq!(data::<String>(br#"{"success":true,"data":"ok"}"#, "s").unwrap(), "ok");
        for wrong in [&br#"{"success":false,"data":"ok"}"#[..], br#"{"data":"ok"}"#, b"ok", b"\xff"] {
            assert!(matches!(data::<String>(wrong, "s"), Err(Error::Answer { .. })));
        }
    }

    #[test]
    fn a_refusal_has_its_code_and_when_to_come_again() {
        let body = br#"{"success":false,"error":"too much at once","code":"busy"}"#;
        let found = refusal(&parts(503, Some("2")), body);
        let expected = Refusal {
            status: 503,
            code: Some(ErrorCode::Busy),
            message: "too much at once".to_owned(),
            retry_after: Some(Duration::from_secs(2)),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_code_of_the_future_and_an_error_without_one_are_taken() {
        let future = refusal(&parts(418, None), br#"{"success":false,"error":"e","code":"new"}"#);
        assert_eq!((future.code, future.message.as_str()), (None, "e"));
        let old = refusal(&parts(500, None), br#"{"success":false,"error":"e"}"#);
        assert_eq!((old.code, old.message.as_str()), (None, "e"));
    }

    #[test]
    fn what_a_proxy_says_is_quoted_in_part() {
        let found = refusal(&parts(502, None), "x".repeat(5000).as_bytes());
        assert_eq!(found.message.len(), "status 502: ".len() + QUOTED);
        assert_eq!(refusal(&parts(502, None), b"").message, "status 502");
    }
}
