//! Logs of the fake with both outputs in the order they came.

use std::sync::Arc;

use agentkernel_backend::{BackendError, LogChunk, LogChunks, OutputKind};
use async_trait::async_trait;
use tokio::sync::watch;

use super::command::{Command, Stream};

/// Cuts that nobody expects.
const CHUNK_BYTES: usize = 1021;

/// The chunks of one command's log.
pub(super) struct Chunks {
    command: Arc<Command>,
    logged: watch::Receiver<u64>,
    at: u64,
    /// Where to end; `None` at the command's end.
    until: Option<u64>,
}

impl Chunks {
    pub(super) fn new(command: Arc<Command>, at: u64, until: Option<u64>) -> Self {
        let logged = command.logged.subscribe();
        Self { command, logged, at, until }
    }
}

#[async_trait]
impl LogChunks for Chunks {
    async fn next(&mut self) -> Result<Option<LogChunk>, BackendError> {
        loop {
            let ended = self.command.outcome.borrow().is_some();
            self.logged.borrow_and_update();
            let Some(log) = &self.command.log else { return Ok(None) };
            let piece = log.lock().expect("no panic while locked").piece(self.at);
            let (stream, mut bytes) = piece.map_err(|first| {
                BackendError::runtime(
                    "read a log",
                    format!("it begins at {first} by now, not at {}", self.at),
                )
            })?;
            let most = self.until.map_or(u64::MAX, |until| until.saturating_sub(self.at));
            bytes.truncate(CHUNK_BYTES.min(usize::try_from(most).unwrap_or(usize::MAX)));
            if !bytes.is_empty() {
                let offset = self.at;
                self.at += bytes.len() as u64;
                let kind = if stream == Stream::Err { OutputKind::Stderr } else { OutputKind::Stdout };
                return Ok(Some(LogChunk { offset, kind, bytes }));
            }
            if ended || self.until.is_some() {
                return Ok(None);
            }
            // The command is held here, so its sender lives.
            self.logged.changed().await.expect("the sender lives");
        }
    }
}
