//! The log of a detached command, from any byte on.

use agentkernel_api::{ExecutionInfo, StreamEvent};
use hyper::header::HeaderName;
use serde::Deserialize;

use crate::stream::{SseStream, failure, of_command};
use crate::{Error, SandboxHandle, bytes_of};

pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Some of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// `stdout` or `stderr`.
    pub stream: String,
    /// What was written.
    pub bytes: Vec<u8>,
    /// Where the log goes on behind it: for [`SandboxHandle::logs_after`], and for nothing else.
    pub position: String,
}

/// The data of an event that says that the log no longer holds some bytes.
#[derive(Deserialize)]
struct Dropped {
    bytes: u64,
}

/// The data of the last event.
#[derive(Deserialize)]
struct End {
    execution: ExecutionInfo,
}

/// A log as it comes. The command doesn't mind when it is dropped.
#[derive(Debug)]
pub struct LogStream {
    sandbox: SandboxHandle,
    id: String,
    follow: bool,
    offset: u64,
    /// Where the last chunk ended.
    position: Option<String>,
    dropped: u64,
    events: SseStream,
    execution: Option<ExecutionInfo>,
}

impl LogStream {
    pub(crate) async fn open(
        sandbox: SandboxHandle,
        id: String,
        offset: u64,
        position: Option<String>,
        follow: bool,
    ) -> Result<Self, Error> {
        let events = SseStream::new(sandbox.open_logs(&id, offset, position.as_deref(), follow).await?);
        Ok(Self { sandbox, id, follow, offset, position, dropped: 0, events, execution: None })
    }

    /// Where the log goes on behind what [`LogStream::next`] has returned; `None` before the first chunk.
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// How many bytes were not there to be read: a sandbox keeps the newest part of a log that grows too large.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The command as it was at the stream's end; `None` before.
    pub fn execution(&self) -> Option<&ExecutionInfo> {
        self.execution.as_ref()
    }

    /// Opens the stream again where it broke: no byte is lost or comes twice.
    pub async fn resume(&mut self) -> Result<(), Error> {
        let position = self.position.as_deref();
        let bytes = self.sandbox.open_logs(&self.id, self.offset, position, self.follow).await?;
        self.events = SseStream::new(bytes);
        Ok(())
    }

    /// The next of it; `None` where it is at its end: that of the command where the log is followed, else that of what
    /// was there.
    pub async fn next(&mut self) -> Result<Option<LogChunk>, Error> {
        while self.execution.is_none() {
            let Some(event) = self.events.next().await? else {
                return Err(self.events.broken("it has no last event".to_owned()));
            };
            match event.name.as_str() {
                "output" => {
                    let StreamEvent::Output { data, stream, encoding, .. } =
                        of_command(&self.events, &event)?
                    else {
                        return Err(self.events.broken("an output without its fields".to_owned()));
                    };
                    let position = event
                        .id
                        .ok_or_else(|| self.events.broken("an output without its place".to_owned()))?;
                    self.position = Some(position.clone());
                    let bytes = bytes_of(&data, encoding)?;
                    return Ok(Some(LogChunk { stream, bytes, position }));
                }
                "error" => return Err(failure(&self.events, &event)),
                "dropped" => {
                    let lost: Dropped = self.events.json(&event)?;
                    self.dropped += lost.bytes;
                    self.position = event.id.or(self.position.take());
                }
                // The second where nobody wanted to follow a command that goes on.
                "done" | "running" => {
                    let end: End = self.events.json(&event)?;
                    self.execution = Some(end.execution);
                }
                _ => {}
            }
        }
        Ok(None)
    }
}
