//! `sandbox_exec_logs`: what a detached command has written so far.

use std::time::Duration;

use agentkernel_api::{Encoding, ExecutionInfo, ExecutionStatus};

use agentkernel_service::{LogEvent, OutputKind, ServiceError};
use rmcp::model::CallToolResult;

use super::Call;
use crate::answers::{ExecLogs, success, whole_characters};
use crate::arguments::{ExecLogsArguments, invalid};
use crate::failure::Failure;
use crate::file_part::MOST_PART;

/// The longest that one call waits.
const MOST_WAIT_MS: u64 = 60_000;

/// A part of a log.
struct Part {
    start: u64,
    next: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    last: Option<OutputKind>,
}

impl Part {
    /// Takes a piece of the log as far as there is room; whether there is more room.
    fn take(&mut self, kind: OutputKind, bytes: &[u8], limit: u64) -> bool {
        let room = usize::try_from(limit - (self.next - self.start)).unwrap_or(usize::MAX);
        let taken = &bytes[..bytes.len().min(room)];
        let stream = match kind {
            OutputKind::Stdout => &mut self.stdout,
            OutputKind::Stderr => &mut self.stderr,
        };
        stream.extend_from_slice(taken);
        self.next += taken.len() as u64;
        self.last = Some(kind);
        bytes.len() < room
    }

    /// Leaves a character whose rest is still to come for the next part.
    fn without_torn_character(&mut self) {
        let stream = match self.last {
            Some(OutputKind::Stdout) => &mut self.stdout,
            Some(OutputKind::Stderr) => &mut self.stderr,
            None => return,
        };
        let torn = stream.len() - whole_characters(stream);
        if self.next - self.start == torn as u64 {
            // Something is always returned, so that whoever goes on comes to an end.
            return;
        }
        stream.truncate(stream.len() - torn);
        self.next -= torn as u64;
    }
}

impl Call {
    /// `sandbox_exec_logs`.
    pub(super) async fn logs(self, arguments: ExecLogsArguments) -> Result<CallToolResult, Failure> {
        for (field, value, most) in
            [("limit", arguments.limit, MOST_PART), ("wait_ms", arguments.wait_ms, MOST_WAIT_MS)]
        {
            if value > most {
                return Err(invalid(field, format!("{field}: {value} is more than {most}")).into());
            }
        }
        if arguments.limit == 0 {
            return Err(invalid("limit", "limit: 0 would never come to an end".to_owned()).into());
        }
        let (mut part, mut info) = self.log_part(&arguments).await?;
        if part.next == part.start && info.status == ExecutionStatus::Running && arguments.wait_ms > 0 {
            let wait = Duration::from_millis(arguments.wait_ms);
            // That the time runs out is no failure: there is nothing new.
            if let Ok(news) = tokio::time::timeout(wait, self.log_news(&arguments)).await {
                news?;
            }
            (part, info) = self.log_part(&arguments).await?;
        }
        if info.status == ExecutionStatus::Running || part.next - part.start == arguments.limit {
            part.without_torn_character();
        }
        let logs = ExecLogs {
            id: arguments.id,
            stdout: String::new(),
            stderr: String::new(),
            encoding: Encoding::Utf8,
            offset: part.start,
            next_offset: part.next,
            status: info.status,
            exit_code: info.exit_code,
        };
        let logs = logs.with_output(part.stdout, part.stderr);
        Ok(success(logs.text(), &logs))
    }

    /// What is there now.
    async fn log_part(&self, arguments: &ExecLogsArguments) -> Result<(Part, ExecutionInfo), ServiceError> {
        let offset = arguments.offset;
        let mut part =
            Part { start: offset, next: offset, stdout: Vec::new(), stderr: Vec::new(), last: None };
        let mut info = self.log_into(&mut part, arguments, false).await?;
        if info.as_ref().is_some_and(|info| info.status == ExecutionStatus::Ended) {
            // It may have ended after the log was read: what is said to have ended must be whole.
            info = self.log_into(&mut part, arguments, true).await?;
        }
        match info {
            Some(info) => Ok((part, info)),
            None => {
                let info =
                    self.service.execution(&self.caller, arguments.name.as_str(), &arguments.id).await?;
                Ok((part, info))
            }
        }
    }

    /// Adds what comes next, with `follow` up to the command's end; `None` where there is no more room.
    async fn log_into(
        &self,
        part: &mut Part,
        arguments: &ExecLogsArguments,
        follow: bool,
    ) -> Result<Option<ExecutionInfo>, ServiceError> {
        let (name, id) = (arguments.name.as_str(), arguments.id.as_str());
        let mut logs = self.service.logs(&self.caller, name, id, part.next, follow).await?;
        if part.next == part.start {
            (part.start, part.next) = (logs.start, logs.start);
        }
        loop {
            match logs.next().await? {
                Some(LogEvent::Output { kind, bytes, .. }) => {
                    if !part.take(kind, &bytes, arguments.limit) {
                        return Ok(None);
                    }
                }
                Some(LogEvent::End(info)) => return Ok(Some(*info)),
                None => return Ok(None),
            }
        }
    }

    /// Waits for output or the command's end.
    async fn log_news(&self, arguments: &ExecLogsArguments) -> Result<(), ServiceError> {
        let (name, id) = (arguments.name.as_str(), arguments.id.as_str());
        let mut logs = self.service.logs(&self.caller, name, id, arguments.offset, true).await?;
        logs.next().await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_at_its_limit_and_between_characters() {
        let mut part = Part { start: 10, next: 10, stdout: Vec::new(), stderr: Vec::new(), last: None };
        assert!(part.take(OutputKind::Stderr, b"ab", 6));
        assert!(!part.take(OutputKind::Stdout, "xy\u{1F980}".as_bytes(), 6));
        assert_eq!((part.next, part.stdout.len()), (16, 4));
        part.without_torn_character();
        assert_eq!((part.next, part.stdout.as_slice(), part.stderr.as_slice()), (14, &b"xy"[..], &b"ab"[..]));
    }
}
