//! Server-sent events, written by hand: a command's output goes through here, and is escaped once.

use agentkernel_api::{ErrorBody, RunResult};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::text::Piece;

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "text/event-stream";

/// A comment, for proxies and clients that give up on silence.
pub(crate) const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// An event; `data` becomes one line of JSON.
pub(crate) fn event<T: Serialize>(name: &str, id: Option<&str>, data: &T) -> Bytes {
    let mut text = begin(name, id);
    write_json(&mut text, data);
    end(text)
}

/// An `output` event: `data` and `content` are the same, as clients of both spellings exist.
pub(crate) fn output(stream: &'static str, piece: &Piece, id: Option<&str>) -> Bytes {
    let (bytes, encoding) = match piece {
        Piece::Text(bytes) => (bytes, "utf8"),
        Piece::Binary(bytes) => (bytes, "base64"),
    };
    let mut text = begin("output", id);
    text.reserve(bytes.len() * 3 + 96);
    text.extend_from_slice(b"{\"data\":");
    let start = text.len();
    match (piece, std::str::from_utf8(bytes)) {
        (Piece::Text(_), Ok(characters)) => write_json(&mut text, &characters),
        _ => write_json(&mut text, &STANDARD.encode(bytes)),
    }
    let written = start..text.len();
    text.extend_from_slice(b",\"content\":");
    text.extend_from_within(written);
    text.extend_from_slice(b",\"stream\":\"");
    text.extend_from_slice(stream.as_bytes());
    text.extend_from_slice(b"\",\"encoding\":\"");
    text.extend_from_slice(encoding.as_bytes());
    text.extend_from_slice(b"\"}");
    end(text)
}

/// The `started` event.
pub(crate) fn started(command: &[String], fast: bool, timestamp: &str) -> Bytes {
    #[derive(Serialize)]
    struct Started<'a> {
        command: &'a [String],
        fast: bool,
        timestamp: &'a str,
    }
    event("started", None, &Started { command, fast, timestamp })
}

/// A `progress` event.
pub(crate) fn progress(stage: &str, sandbox: Option<&str>, detail: Option<&str>) -> Bytes {
    #[derive(Serialize)]
    struct Progress<'a> {
        stage: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        sandbox: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    }
    event("progress", None, &Progress { stage, sandbox, detail })
}

/// The `done` event.
pub(crate) fn done(result: &RunResult) -> Bytes {
    #[derive(Serialize)]
    struct Done<'a> {
        exit_code: u8,
        success: bool,
        result: &'a RunResult,
    }
    event("done", None, &Done { exit_code: result.exit_code, success: result.exit_code == 0, result })
}

/// The `error` event.
pub(crate) fn error(body: &ErrorBody) -> Bytes {
    #[derive(Serialize)]
    struct Failed<'a> {
        message: &'a str,
        code: agentkernel_api::ErrorCode,
    }
    event("error", None, &Failed { message: &body.error, code: body.code })
}

fn begin(name: &str, id: Option<&str>) -> Vec<u8> {
    let mut text = Vec::with_capacity(64);
    if let Some(id) = id {
        text.extend_from_slice(b"id: ");
        text.extend_from_slice(id.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\ndata: ");
    text
}

fn write_json<T: Serialize>(text: &mut Vec<u8>, value: &T) {
    if let Err(error) = serde_json::to_writer(text, value) {
        tracing::error!(%error, "an event could not be written as JSON");
    }
}

fn end(mut text: Vec<u8>) -> Bytes {
    text.extend_from_slice(b"\n\n");
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use agentkernel_api::ErrorCode;

    use super::*;

    #[test]
    fn output_is_written_as_the_documented_wire_format_says() {
        let text = output("stdout", &Piece::Text(Bytes::from_static(b"a\n\"")), None);
        let expected = "event: output\ndata: {\"data\":\"a\\n\\\"\",\"content\":\"a\\n\\\"\",\"stream\":\"stdout\",\"encoding\":\"utf8\"}\n\n";
        assert_eq!(text, expected);
        let bytes = output("stderr", &Piece::Binary(Bytes::from_static(b"\xff")), Some("7"));
        let expected = "id: 7\nevent: output\ndata: {\"data\":\"/w==\",\"content\":\"/w==\",\"stream\":\"stderr\",\"encoding\":\"base64\"}\n\n";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn the_other_events_are_one_line_of_json_each() {
        let command = ["echo".to_owned(), "a\nb".to_owned()];
        assert_eq!(
            started(&command, true, "2026-01-01T00:00:00Z"),
            "event: started\ndata: {\"command\":[\"echo\",\"a\\nb\"],\"fast\":true,\"timestamp\":\"2026-01-01T00:00:00Z\"}\n\n"
        );
        assert_eq!(
            progress("sandbox_started", None, None),
            "event: progress\ndata: {\"stage\":\"sandbox_started\"}\n\n"
        );
        assert_eq!(
            error(&ErrorBody::new(ErrorCode::Busy, "later")),
            "event: error\ndata: {\"message\":\"later\",\"code\":\"busy\"}\n\n"
        );
    }
}
