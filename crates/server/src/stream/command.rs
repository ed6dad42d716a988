//! A command's output as the body of an answer, from before it has started to its end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentkernel_api::ErrorBody;
use agentkernel_service::{OutputEvent, OutputEvents, ServiceError, Started};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;

use super::frames::{self, Kind};
use super::keep_alive::with_keep_alive;
use super::pull::Reports;
use super::sse;
use super::text::Characters;
use crate::answer::{Answer, Refusal};

/// How long a start may take before the answer begins without it. Until then a failure has its status; afterwards, while
/// an image is fetched for example, it is the stream's last word.
const PATIENCE: Duration = Duration::from_secs(1);

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Server-sent events.
    Events,
    /// `application/vnd.agentkernel.frames`.
    Frames,
}

type Starting = Pin<Box<dyn Future<Output = Result<Started, ServiceError>> + Send>>;

enum Phase {
    Starting(Starting),
    Running(Box<OutputEvents>),
    Over,
}

struct Output {
    phase: Phase,
    format: Format,
    /// Of an image that has to be fetched first.
    reports: Arc<Reports>,
    /// Ready to leave.
    ready: VecDeque<Bytes>,
    stdout: Characters,
    stderr: Characters,
}

/// The answer of a command that is being started. Dropping it, as a connection that breaks does, ends the command.
/// `asked` is the command as the request has it; `reports` is told of an image that is fetched for it.
pub(crate) async fn of_command(
    starting: impl Future<Output = Result<Started, ServiceError>> + Send + 'static,
    asked: Vec<String>,
    format: Format,
    reports: Arc<Reports>,
) -> Answer {
    let mut starting: Starting = Box::pin(starting);
    let mut output = Output {
        phase: Phase::Over,
        format,
        reports,
        ready: VecDeque::new(),
        stdout: Characters::default(),
        stderr: Characters::default(),
    };
    match tokio::time::timeout(PATIENCE, &mut starting).await {
        Ok(started) => {
            let started = started?;
            let info = started.info();
            output.begin(&info.command, info.warm, &info.started_at);
            output.run(started);
        }
        Err(_) => {
            let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            output.begin(&asked, false, &now);
            output.phase = Phase::Starting(starting);
        }
    }
    Ok(output.into_response())
}

impl Output {
    fn begin(&mut self, command: &[String], fast: bool, timestamp: &str) {
        if self.format == Format::Events {
            self.ready.push_back(sse::started(command, fast, timestamp));
        }
    }

    fn run(&mut self, started: Started) {
        let info = started.info();
        // A sandbox that has a name was there before.
        if self.format == Format::Events && !info.warm && info.sandbox.is_none() {
            self.ready.push_back(sse::progress("sandbox_created", None, None));
            self.ready.push_back(sse::progress("sandbox_started", None, None));
        }
        self.phase = Phase::Running(Box::new(started.into_stream()));
    }

    /// The next bytes of the body; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            let event = match &mut self.phase {
                Phase::Over => return None,
                Phase::Starting(starting) => {
                    let started = tokio::select! {
                        started = starting => started,
                        report = self.reports.next(), if self.format == Format::Events => {
                            self.ready.push_back(report);
                            continue;
                        }
                    };
                    match started {
                        Ok(started) => {
                            self.run(started);
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
                Phase::Running(events) => events.next().await,
            };
            match (event, self.format) {
                (Ok(Some(event)), Format::Events) => self.write_event(event),
                (Ok(Some(event)), Format::Frames) => self.write_frame(event),
                (Ok(None), _) => self.phase = Phase::Over,
                (Err(error), _) => self.fail(&Refusal::from(error).body()),
            }
        }
    }

    fn write_event(&mut self, event: OutputEvent) {
        match event {
            OutputEvent::Stdout(bytes) => {
                let piece = self.stdout.push(bytes);
                self.ready.extend(piece.map(|piece| sse::output("stdout", &piece, None)));
            }
            OutputEvent::Stderr(bytes) => {
                let piece = self.stderr.push(bytes);
                self.ready.extend(piece.map(|piece| sse::output("stderr", &piece, None)));
            }
            OutputEvent::End(result) => {
                self.flush();
                self.ready.push_back(sse::done(&result));
            }
        }
    }

    /// Sends what was held back of characters that never became whole.
    fn flush(&mut self) {
        let left = [("stdout", self.stdout.end()), ("stderr", self.stderr.end())];
        let left = left.into_iter().filter_map(|(name, piece)| Some(sse::output(name, &piece?, None)));
        self.ready.extend(left);
    }

    fn write_frame(&mut self, event: OutputEvent) {
        match event {
            OutputEvent::Stdout(bytes) => self.ready.extend(frames::output(Kind::Stdout, bytes)),
            OutputEvent::Stderr(bytes) => self.ready.extend(frames::output(Kind::Stderr, bytes)),
            OutputEvent::End(result) => self.ready.push_back(frames::end(&result)),
        }
    }

    fn fail(&mut self, body: &ErrorBody) {
        self.phase = Phase::Over;
        match self.format {
            Format::Events => {
                self.flush();
                self.ready.push_back(sse::error(body));
            }
            Format::Frames => self.ready.push_back(frames::error(body)),
        }
    }

    fn into_response(self) -> Response {
        let format = self.format;
        let body = unfold(self, |mut output| async move {
            let bytes = output.next().await?;
            Some((bytes, output))
        });
        match format {
            Format::Events => with_keep_alive(body),
            Format::Frames => {
                let body = futures_util::StreamExt::map(body, Ok::<_, Infallible>);
                let mut response = Response::new(Body::from_stream(body));
                let media_type = HeaderValue::from_static(frames::MEDIA_TYPE);
                response.headers_mut().insert(header::CONTENT_TYPE, media_type);
                response
            }
        }
    }
}
