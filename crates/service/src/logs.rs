//! Logs of detached commands, from any byte on.

use agentkernel_api as api;
use agentkernel_backend::{ExecutionState, LogChunks, OrderedLog, OutputKind};
use agentkernel_model::ExecId;
use bytes::Bytes;

use crate::exec::Inside;
use crate::executions::unknown;
use crate::request::exec_id;
use crate::{Caller, Scope, Service, ServiceError, view};

/// One piece of a log, or where the command is at the log's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// Bytes, in the order in which they were written. The next piece begins at `offset + bytes.len()`: who reads on from
    /// there after an interruption misses nothing and gets nothing twice.
    Output {
        /// Of the first byte, counted over both outputs together since the command's start.
        offset: u64,
        /// Which output it is of.
        kind: OutputKind,
        /// Never empty.
        bytes: Bytes,
    },
    /// The log's end; with `follow` the command has ended.
    End(Box<api::ExecutionInfo>),
}

/// A log from some byte on. Not taking it holds up nobody: the command goes on, and the oldest output may be dropped.
pub struct Logs {
    /// The first byte's offset: larger than what was asked for where older output has been dropped.
    pub start: u64,
    inside: Inside,
    id: ExecId,
    chunks: Option<Box<dyn LogChunks>>,
    /// Whether the command still ran when this end of the log was looked up: what it wrote since is not in it.
    unfinished: bool,
}

impl Service {
    /// The log of a detached command from byte `offset` on; with `follow` until the command ends.
    pub async fn logs(
        &self,
        caller: &Caller,
        sandbox: &str,
        id: &str,
        offset: u64,
        follow: bool,
    ) -> Result<Logs, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "logs")?;
        let id = exec_id(id)?;
        let inside = self.inner.inside(sandbox).await?;
        let log = inside.guest.ordered_log(&id, offset, follow).await.map_err(ServiceError::inside)?;
        let OrderedLog { start, state, chunks } = log;
        let unfinished = !follow && state == ExecutionState::Running;
        Ok(Logs { start, inside, id, chunks: Some(chunks), unfinished })
    }
}

impl Logs {
    /// The next piece; `None` after the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, ServiceError> {
        let Some(chunks) = &mut self.chunks else { return Ok(None) };
        if let Some(chunk) = chunks.next().await.map_err(ServiceError::inside)? {
            let bytes = Bytes::from(chunk.bytes);
            return Ok(Some(LogEvent::Output { offset: chunk.offset, kind: chunk.kind, bytes }));
        }
        let all = self.inside.guest.executions().await.map_err(ServiceError::inside)?;
        let found = all.iter().find(|execution| execution.id == self.id);
        let mut info = found
            .map(view::execution)
            .ok_or_else(|| unknown(self.id.as_str(), self.inside.view.name.as_str()))?;
        if self.unfinished {
            // It may have ended since, with output that is not in this log.
            info = api::ExecutionInfo {
                status: api::ExecutionStatus::Running,
                exit_code: None,
                signal: None,
                ..info
            };
        }
        self.chunks = None;
        Ok(Some(LogEvent::End(Box::new(info))))
    }
}
