//! A log as one stream of records, each held against the one before it.

use std::io;

use agentkernel_protocol::{LOG_RECORD_HEADER, LogRecord, MAX_PAYLOAD, Stream, StreamReader};
use async_trait::async_trait;
use tokio::io::AsyncReadExt;

use super::check;
use crate::{BackendError, LogChunk, LogChunks, OutputKind};

/// The records that come from `reader`.
pub(super) struct Records {
    reader: StreamReader,
    /// Of the execution, for messages.
    what: String,
    /// The offset that the next record must have.
    next: u64,
    /// What has come; from `taken` on it is still to be given out.
    buffer: Vec<u8>,
    taken: usize,
}

impl Records {
    /// Of the log of `what` from `start` on.
    pub(super) fn new(reader: StreamReader, what: String, start: u64) -> Self {
        Self { reader, what, next: start, buffer: Vec::new(), taken: 0 }
    }

    /// The first record of the buffer, where it is there as a whole.
    fn take(&mut self) -> Result<Option<LogChunk>, BackendError> {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let damaged = |error: agentkernel_protocol::NoLogRecord| check::hostile(error.to_string());
        let Some(record) = LogRecord::decode(rest).map_err(damaged)? else { return Ok(None) };
        if record.offset != self.next {
            let (found, expected) = (record.offset, self.next);
            return Err(check::hostile(format!("a log that goes on at {found} instead of {expected}")));
        }
        let end = LOG_RECORD_HEADER + record.length;
        let Some(content) = rest.get(LOG_RECORD_HEADER..end) else { return Ok(None) };
        let kind = if record.stream == Stream::Error { OutputKind::Stderr } else { OutputKind::Stdout };
        let chunk = LogChunk { offset: record.offset, kind, bytes: content.to_vec() };
        self.taken += end;
        self.next = record.end();
        Ok(Some(chunk))
    }

    fn failed(&self, error: io::Error) -> BackendError {
        match error.kind() {
            io::ErrorKind::ConnectionReset => BackendError::BoxEnded { why: error.to_string() },
            io::ErrorKind::ConnectionAborted => {
                let why = "output that was still to be read has been dropped; ask again from the log's start";
                BackendError::runtime(format!("read the log of {} from {} on", self.what, self.next), why)
            }
            _ => BackendError::runtime(format!("read the log of {}", self.what), error),
        }
    }
}

#[async_trait]
impl LogChunks for Records {
    async fn next(&mut self) -> Result<Option<LogChunk>, BackendError> {
        loop {
            if let Some(chunk) = self.take()? {
                return Ok(Some(chunk));
            }
            self.buffer.drain(..std::mem::take(&mut self.taken));
            self.buffer.reserve(MAX_PAYLOAD);
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(check::hostile("half a record of a log")),
                Ok(_) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }
}
