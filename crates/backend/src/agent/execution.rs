//! A command that was started through the agent.

use agentkernel_model::{ExecRequest, Outcome, Signal, TtySize};
use agentkernel_protocol::{
    Channel, ConnectionError, Control, EnvEntry, Event, Exec, Request, Stream, TerminalSize,
};
use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::check;
use crate::{BackendError, Execution, ExecutionControl, InputStream, OutputStream};

/// `request` as the agent is told.
pub(super) fn message(request: &ExecRequest) -> Request {
    use std::os::unix::ffi::OsStrExt;
    Request::Exec(Box::new(Exec {
        argv: request.argv.iter().map(|argument| argument.0.clone().into()).collect(),
        env: request
            .env
            .iter()
            .map(|var| EnvEntry { name: var.name.0.clone().into(), value: var.value.0.clone().into() })
            .collect(),
        workdir: request.workdir.as_path().as_os_str().as_bytes().to_vec().into(),
        user: request.user.as_ref().map(|user| user.user.clone()),
        group: request.user.as_ref().and_then(|user| user.group.clone()),
        stdin: request.stdin,
        terminal: request.tty.map(terminal_size),
        timeout_ms: request.timeout.map(|timeout| timeout.as_millis().try_into().unwrap_or(u64::MAX)),
        log_limit: request.detached_log_limit,
    }))
}

fn terminal_size(size: TtySize) -> TerminalSize {
    TerminalSize { rows: size.rows, columns: size.columns }
}

/// Waits until the command on `channel` runs.
pub(super) async fn started(channel: Channel, request: &ExecRequest) -> Result<Execution, BackendError> {
    let id = match channel.receive().await.map_err(check::connection)? {
        Some(Event::Started { id, .. }) => check::exec_id(id)?,
        Some(Event::Failed(failure)) => return Err(check::cannot_exec(request, failure)),
        other => return Err(check::unexpected(other)),
    };
    let detached = request.detached_log_limit.is_some();
    let output = |stream| -> OutputStream {
        if detached { Box::new(tokio::io::empty()) } else { Box::new(channel.reader(stream)) }
    };
    Ok(Execution {
        id,
        stdin: request.stdin.then(|| -> InputStream { Box::new(channel.writer(Stream::Input)) }),
        stdout: output(Stream::Output),
        stderr: request.tty.is_none().then(|| output(Stream::Error)),
        control: Box::new(AgentControl { channel, outcome: OnceCell::new() }),
    })
}

struct AgentControl {
    channel: Channel,
    outcome: OnceCell<Outcome>,
}

impl AgentControl {
    async fn send(&self, control: Control) -> Result<(), BackendError> {
        if self.outcome.get().is_some() {
            return Err(BackendError::NotFound { what: "the command's process".to_owned() });
        }
        self.channel.send(&control).await.map_err(check::connection)
    }
}

#[async_trait]
impl ExecutionControl for AgentControl {
    async fn signal(&self, signal: Signal) -> Result<(), BackendError> {
        self.send(Control::Signal(signal.number())).await
    }

    async fn resize(&self, size: TtySize) -> Result<(), BackendError> {
        self.send(Control::Resize(terminal_size(size))).await
    }

    async fn wait(&self) -> Result<Outcome, BackendError> {
        let outcome = self.outcome.get_or_try_init(|| ended(&self.channel)).await?;
        Ok(*outcome)
    }
}

/// Waits for a command's end.
pub(super) async fn ended(channel: &Channel) -> Result<Outcome, BackendError> {
    match channel.receive().await {
        Ok(Some(Event::Ended(state))) => check::outcome(state),
        Ok(other) => Err(check::unexpected(other)),
        // A box that is gone has taken the command with it.
        Err(ConnectionError::Closed | ConnectionError::Io { .. }) => Ok(Outcome::BoxEnded),
        Err(error) => Err(check::connection(error)),
    }
}
