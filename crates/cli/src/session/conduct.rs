//! Joins a running command's streams, signals and terminal to ours until it ends.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use agentkernel_backend::{BackendError, Execution, ExecutionControl, InputStream, OutputStream};
use agentkernel_model::{Outcome, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::signals::Signals;
use super::sink::Sink;
use crate::stdio::StandardInput;

/// Bytes moved at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// How long a command's left-over processes may be silent before their output is left alone, once the command itself
/// has ended: a server that was started in the background doesn't hold its caller. What the command itself wrote is here
/// by then: its end is told behind it.
const SILENCE: Duration = Duration::from_millis(500);

/// Why a session ended other than by its command's end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The reader of our output has gone, as in `agentkernel run -- yes | head`.
    #[error("the reader of the output has closed it")]
    OutputClosed,
    /// Our own stream failed: a full disk behind standard output, for one.
    #[error("could not {action}: {source}")]
    Stream {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The sandbox failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Runs the session until the command and its output have ended. `terminal`: the command has one, so changes of our
/// terminal's size are passed on.
pub(crate) async fn conduct(
    execution: Execution,
    terminal: bool,
    mut to_stdout: Sink<'_>,
    mut to_stderr: Sink<'_>,
) -> Result<Outcome, SessionError> {
    let Execution { id: _, stdin, mut stdout, stderr, control } = execution;
    let control = control.as_ref();
    let mut signals = Signals::listen(terminal)
        .map_err(|source| SessionError::Stream { action: "catch signals", source })?;
    let progress = Progress::default();
    let output = async {
        match stderr {
            None => pump(&mut stdout, &mut to_stdout, &progress).await,
            Some(mut stderr) => {
                let stdout = pump(&mut stdout, &mut to_stdout, &progress);
                let stderr = pump(&mut stderr, &mut to_stderr, &progress);
                tokio::try_join!(stdout, stderr).map(|_| ())
            }
        }
    };
    let result = tokio::select! {
        result = until_the_end(control, output, &progress) => result,
        error = signals.forward(control) => Err(error.into()),
        error = feed(stdin) => Err(error),
    };
    if result.is_err() {
        kill(control).await;
    }
    result
}

/// Waits for the command and for its output, whichever order they end in.
async fn until_the_end(
    control: &dyn ExecutionControl,
    output: impl Future<Output = Result<(), SessionError>>,
    progress: &Progress,
) -> Result<Outcome, SessionError> {
    tokio::pin!(output);
    let outcome = tokio::select! {
        biased;
        result = &mut output => {
            result?;
            return Ok(control.wait().await?);
        }
        outcome = control.wait() => outcome?,
    };
    loop {
        let seen = progress.bytes.get();
        match tokio::time::timeout(SILENCE, &mut output).await {
            Ok(result) => {
                result?;
                return Ok(outcome);
            }
            // A slow reader of ours is no silence of theirs.
            Err(_) if progress.writers.get() > 0 || progress.bytes.get() != seen => {}
            Err(_) => return Ok(outcome),
        }
    }
}

/// Kills what is left. The command may have ended long ago, so a failure says nothing new.
async fn kill(control: &dyn ExecutionControl) {
    if let Err(error) = control.signal(Signal::KILL).await {
        tracing::debug!(%error, "there was nothing left to kill");
    }
}

/// What the pumps have done so far.
#[derive(Default)]
struct Progress {
    bytes: Cell<u64>,
    writers: Cell<u32>,
}

/// Copies one stream of the command to its sink, each piece as it comes.
async fn pump(from: &mut OutputStream, to: &mut Sink<'_>, progress: &Progress) -> Result<(), SessionError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from
            .read(&mut buffer)
            .await
            .map_err(|source| SessionError::Stream { action: "read the command's output", source })?;
        if count == 0 {
            return Ok(());
        }
        progress.bytes.set(progress.bytes.get() + count as u64);
        progress.writers.set(progress.writers.get() + 1);
        to.write_all(&buffer[..count]).await.map_err(writing)?;
        progress.writers.set(progress.writers.get() - 1);
    }
}

/// Copies a detached command's log to its sinks; returns the bytes of both streams.
pub(crate) async fn pump_log(
    mut stdout: OutputStream,
    mut stderr: OutputStream,
    mut to_stdout: Sink<'_>,
    mut to_stderr: Sink<'_>,
) -> Result<u64, SessionError> {
    let progress = Progress::default();
    tokio::try_join!(
        pump(&mut stdout, &mut to_stdout, &progress),
        pump(&mut stderr, &mut to_stderr, &progress)
    )?;
    Ok(progress.bytes.get())
}

fn writing(source: io::Error) -> SessionError {
    let terminal_gone = source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    if source.kind() == io::ErrorKind::BrokenPipe || terminal_gone {
        return SessionError::OutputClosed;
    }
    SessionError::Stream { action: "write the command's output", source }
}

/// Copies our standard input to the command. Never returns but with an error: the command's end ends the session.
async fn feed(to: Option<InputStream>) -> SessionError {
    if let Some(to) = to
        && let Err(source) = copy_input(to).await
    {
        return SessionError::Stream { action: "read standard input", source };
    }
    std::future::pending().await
}

async fn copy_input(mut to: InputStream) -> io::Result<()> {
    let mut from = StandardInput::open()?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from.read(&mut buffer).await?;
        let sent = match count {
            0 => to.shutdown().await,
            _ => to.write_all(&buffer[..count]).await,
        };
        if let Err(error) = sent {
            // The command has closed its input or has ended, which is its right.
            tracing::debug!(%error, "the command takes no more input");
            return Ok(());
        }
        if count == 0 {
            return Ok(());
        }
    }
}
