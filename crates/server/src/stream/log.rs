//! A detached command's log. Every event says where the next one begins: a client that was cut off goes on there and
//! misses nothing and gets nothing twice.

use std::collections::VecDeque;
use std::io;

use agentkernel_api::{Encoding, ExecutionInfo, ExecutionStatus};
use agentkernel_service::{LogEvent, Logs, OutputKind};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use serde::Serialize;

use super::frames::{self, Kind};
use super::keep_alive::with_keep_alive;
use super::sse;
use super::text::{Characters, Piece};
use crate::answer::Refusal;

/// The header that says where a log that is sent without events begins.
pub(crate) const START_HEADER: &str = "agentkernel-log-start";

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// The bytes alone, both outputs in their order.
    Bytes,
    /// Server-sent events.
    Events(Encoding),
    /// `application/vnd.agentkernel.frames`, the end with an [`ExecutionInfo`].
    Frames,
}

struct Output {
    logs: Option<Logs>,
    format: LogFormat,
    ready: VecDeque<Bytes>,
    /// Of the output that the last piece was of.
    characters: Characters,
    last: Option<OutputKind>,
    /// Of the next byte that has not been read.
    next: u64,
    /// Why the connection is to be cut.
    cut: Option<Refusal>,
}

/// The answer that is made of a log. `asked` is where the client is.
pub(crate) fn of_log(logs: Logs, asked: u64, format: LogFormat) -> Response {
    let start = logs.start;
    let mut output = Output {
        logs: Some(logs),
        format,
        ready: VecDeque::new(),
        characters: Characters::default(),
        last: None,
        next: start,
        cut: None,
    };
    if matches!(format, LogFormat::Events(_)) && start > asked {
        output.dropped(start - asked, start);
    }
    let body = unfold(output, |mut output| async move {
        let bytes = output.next().await?;
        Some((bytes, output))
    });
    let media_type = match format {
        LogFormat::Events(_) => {
            return with_keep_alive(body.filter_map(|bytes| std::future::ready(bytes.ok())));
        }
        LogFormat::Bytes => "application/octet-stream",
        LogFormat::Frames => frames::MEDIA_TYPE,
    };
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(START_HEADER, HeaderValue::from(start));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Output {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(Ok(bytes));
            }
            if let Some(refusal) = self.cut.take() {
                return Some(Err(io::Error::other(refusal)));
            }
            let event = self.logs.as_mut()?.next().await;
            match event {
                Ok(Some(LogEvent::Output { offset, kind, bytes })) => self.output(offset, kind, bytes),
                Ok(Some(LogEvent::End(info))) => self.end(&info),
                Ok(None) => self.logs = None,
                Err(error) => self.fail(&error.into()),
            }
        }
    }

    fn output(&mut self, offset: u64, kind: OutputKind, bytes: Bytes) {
        let end = offset + bytes.len() as u64;
        match self.format {
            LogFormat::Bytes => self.ready.push_back(bytes),
            LogFormat::Frames => {
                let kind = if kind == OutputKind::Stderr { Kind::Stderr } else { Kind::Stdout };
                self.ready.extend(frames::output(kind, bytes));
            }
            LogFormat::Events(encoding) => {
                if offset > self.next {
                    let from = self.next;
                    self.flush(from);
                    self.dropped(offset - from, offset);
                } else if self.last != Some(kind) {
                    // What is held back is older than what comes now, and so has to leave before.
                    self.flush(offset);
                }
                self.last = Some(kind);
                let piece = match encoding {
                    Encoding::Utf8 => self.characters.push(bytes),
                    Encoding::Base64 => Some(Piece::Binary(bytes)),
                };
                self.push(piece, end - self.characters.held() as u64);
            }
        }
        self.next = end;
    }

    /// Sends what was held back; it ends at `end`.
    fn flush(&mut self, end: u64) {
        let piece = self.characters.end();
        self.push(piece, end);
    }

    fn push(&mut self, piece: Option<Piece>, end: u64) {
        let stream = if self.last == Some(OutputKind::Stderr) { "stderr" } else { "stdout" };
        let event = piece.map(|piece| sse::output(stream, &piece, Some(&end.to_string())));
        self.ready.extend(event);
    }

    fn dropped(&mut self, bytes: u64, end: u64) {
        #[derive(Serialize)]
        struct Dropped {
            bytes: u64,
        }
        self.ready.push_back(sse::event("dropped", Some(&end.to_string()), &Dropped { bytes }));
    }

    fn end(&mut self, info: &ExecutionInfo) {
        self.logs = None;
        match self.format {
            LogFormat::Bytes => {}
            LogFormat::Frames => self.ready.push_back(frames::execution(info)),
            LogFormat::Events(_) => {
                self.flush(self.next);
                let name = if info.status == ExecutionStatus::Ended { "done" } else { "running" };
                self.ready.push_back(sse::event(name, None, &LogEnd::of(info)));
            }
        }
    }

    fn fail(&mut self, refusal: &Refusal) {
        self.logs = None;
        match self.format {
            // A log that just stops would look complete.
            LogFormat::Bytes => self.cut = Some(refusal.clone()),
            LogFormat::Frames => self.ready.push_back(frames::error(&refusal.body())),
            LogFormat::Events(_) => self.ready.push_back(sse::error(&refusal.body())),
        }
    }
}

/// The `done` event of a log, or `running` where the command goes on and nobody wanted to follow it.
#[derive(Serialize)]
struct LogEnd<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    execution: &'a ExecutionInfo,
}

impl<'a> LogEnd<'a> {
    fn of(execution: &'a ExecutionInfo) -> Self {
        let exit_code = execution.exit_code;
        Self { exit_code, success: exit_code.map(|code| code == 0), execution }
    }
}
