//! A command that was started: its streams, its end, and what becomes of its box.

use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use agentkernel_api::{self as api, Encoding};
use agentkernel_backend::{Execution, ExecutionControl, InputStream, OutputStream};
use agentkernel_model::{CannotExec, Outcome, TtySize};
use bytes::Bytes;

use crate::collected::Collected;
use crate::held::Held;
use crate::pump::{Piece, Pump};
use crate::request::signal;
use crate::view::{run_error, signal_name, timestamp};
use crate::{ServiceError, view};

/// What is known of a command when it was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedInfo {
    /// Its id in its sandbox; empty where it could not be started.
    pub id: String,
    /// Whose sandbox it is.
    pub backend: String,
    /// What it really got.
    pub isolation: api::Isolation,
    /// The image.
    pub image: String,
    /// Whether the sandbox had been started before it was asked for.
    pub warm: bool,
    /// The sandbox, where it has a name.
    pub sandbox: Option<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// RFC 3339, UTC.
    pub started_at: String,
}

/// How the answer is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) encoding: Encoding,
    pub(crate) max_output_bytes: u64,
}

/// A command that was started, or could not be: that is no error, but a result with exit code 126 or 127. Dropping it
/// kills the command and removes its box, unless the box is a sandbox that lasts.
pub struct Started {
    info: StartedInfo,
    shape: Shape,
    since: Instant,
    state: State,
}

enum State {
    Running(Box<Running>),
    NotStarted { exit_code: u8, error: api::RunError },
}

// The order matters: streams and control are dropped, which kills the command, before the box's end is begun.
struct Running {
    stdin: Option<InputStream>,
    content: Option<Bytes>,
    stdout: OutputStream,
    stderr: Option<OutputStream>,
    control: Arc<dyn ExecutionControl>,
    held: Held,
}

impl Started {
    /// One that runs. `content` is its standard input; where there is none, the input is whoever's that takes it.
    pub(crate) fn running(
        info: StartedInfo,
        shape: Shape,
        since: Instant,
        execution: Execution,
        content: Option<Bytes>,
        held: Held,
    ) -> Self {
        let Execution { id: _, stdin, stdout, stderr, control } = execution;
        let running = Running { stdin, content, stdout, stderr, control: control.into(), held };
        Self { info, shape, since, state: State::Running(Box::new(running)) }
    }

    /// One that could not be started.
    pub(crate) fn not_started(mut info: StartedInfo, shape: Shape, since: Instant, why: &CannotExec) -> Self {
        info.started_at = timestamp(SystemTime::now());
        let state = State::NotStarted { exit_code: why.exit_code(), error: run_error(why) };
        Self { info, shape, since, state }
    }

    /// What is known of it.
    pub fn info(&self) -> &StartedInfo {
        &self.info
    }

    /// Whether it runs: `false` where it could not be started.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// The way into its standard input, once, where it was asked for with [`crate::Input::Open`]. Shutting it down is
    /// end-of-file.
    pub fn take_stdin(&mut self) -> Option<InputStream> {
        match &mut self.state {
            State::Running(running) if running.content.is_none() => running.stdin.take(),
            _ => None,
        }
    }

    /// Signals and the terminal's size. Doesn't keep the command alive.
    pub fn control(&self) -> CommandControl {
        CommandControl(match &self.state {
            State::Running(running) => Some(Arc::downgrade(&running.control)),
            State::NotStarted { .. } => None,
        })
    }

    /// Waits for its end and keeps what it writes, as far as the request allows. An error is the box's: it broke the
    /// protocol or came to an end in the middle of a stream.
    pub async fn collect(self) -> Result<api::RunResult, ServiceError> {
        let shape = self.shape;
        let mut collected = Collected::new(shape.max_output_bytes);
        let mut stream = self.into_stream();
        loop {
            match stream.next().await? {
                Some(OutputEvent::Stdout(bytes)) => collected.stdout(&bytes),
                Some(OutputEvent::Stderr(bytes)) => collected.stderr(&bytes),
                Some(OutputEvent::End(mut result)) => {
                    collected.write(&mut result, shape.encoding);
                    return Ok(*result);
                }
                // The end comes before it.
                None => return Err(ServiceError::new(api::ErrorCode::Failed, "a command without an end")),
            }
        }
    }

    /// What it writes, as it comes.
    pub fn into_stream(self) -> OutputEvents {
        let Self { info, shape: _, since, state } = self;
        let state = match state {
            State::Running(running) => {
                let Running { stdin, content, stdout, stderr, control, held } = *running;
                let feed = stdin.zip(content);
                let weak = Arc::downgrade(&control);
                let pump = Pump::new(control, stdout, stderr, feed);
                StreamState::Running(Box::new(Streaming { pump, held }), weak)
            }
            State::NotStarted { exit_code, error } => StreamState::NotStarted { exit_code, error },
        };
        OutputEvents { info, since, state }
    }
}

/// One piece of a command's output, or its end.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputEvent {
    /// Bytes of standard output, or of the terminal.
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// It has ended, and all that it wrote was given out. The result's `stdout`, `stderr` and `output` are empty.
    End(Box<api::RunResult>),
}

/// What a command writes, as it comes. Not taking it makes the command wait. Dropping it kills the command and removes
/// its box, unless the box is a sandbox that lasts.
pub struct OutputEvents {
    info: StartedInfo,
    since: Instant,
    state: StreamState,
}

enum StreamState {
    Running(Box<Streaming>, Weak<dyn ExecutionControl>),
    NotStarted { exit_code: u8, error: api::RunError },
    Over,
}

// The order matters, as above.
struct Streaming {
    pump: Pump,
    held: Held,
}

impl OutputEvents {
    /// What is known of the command.
    pub fn info(&self) -> &StartedInfo {
        &self.info
    }

    /// Signals and the terminal's size. Doesn't keep the command alive.
    pub fn control(&self) -> CommandControl {
        CommandControl(match &self.state {
            StreamState::Running(_, control) => Some(control.clone()),
            StreamState::NotStarted { .. } | StreamState::Over => None,
        })
    }

    /// The next piece; `None` after the end. Dropping the future loses nothing. An error is the box's, and the last word.
    pub async fn next(&mut self) -> Result<Option<OutputEvent>, ServiceError> {
        let piece = match &mut self.state {
            StreamState::Over => return Ok(None),
            StreamState::NotStarted { exit_code, error } => {
                let result = view::result(&self.info, self.since, *exit_code, Some(error.clone()));
                self.state = StreamState::Over;
                return Ok(Some(OutputEvent::End(Box::new(result))));
            }
            StreamState::Running(streaming, _) => {
                let piece = streaming.pump.next().await;
                match &piece {
                    Ok(Piece::Stdout(bytes) | Piece::Stderr(bytes)) => streaming.held.wrote(bytes.len()),
                    Ok(Piece::End(_)) => {}
                    Err(error) => streaming.held.broke(error),
                }
                piece
            }
        };
        match piece {
            Ok(Piece::Stdout(bytes)) => Ok(Some(OutputEvent::Stdout(bytes))),
            Ok(Piece::Stderr(bytes)) => Ok(Some(OutputEvent::Stderr(bytes))),
            Ok(Piece::End(outcome)) => Ok(Some(OutputEvent::End(Box::new(self.end(outcome))))),
            Err(error) => {
                self.state = StreamState::Over;
                Err(error)
            }
        }
    }

    fn end(&mut self, outcome: Outcome) -> api::RunResult {
        let mut result = view::result(&self.info, self.since, outcome.exit_code(), None);
        result.signal = signal_name(outcome);
        result.timed_out = outcome == Outcome::TimedOut;
        if let StreamState::Running(mut streaming, _) = std::mem::replace(&mut self.state, StreamState::Over)
        {
            streaming.held.ended(outcome);
        }
        result
    }
}

/// Signals and the terminal's size of a command. Cheap to clone; doesn't keep the command alive.
#[derive(Clone)]
pub struct CommandControl(Option<Weak<dyn ExecutionControl>>);

impl CommandControl {
    fn get(&self) -> Result<Arc<dyn ExecutionControl>, ServiceError> {
        let gone = || ServiceError::new(api::ErrorCode::NotFound, "the command has ended");
        self.0.as_ref().and_then(Weak::upgrade).ok_or_else(gone)
    }

    /// Sends a signal (`SIGINT`, `INT` or `2`) to the command's process group; SIGKILL goes to its whole process tree.
    pub async fn signal(&self, text: &str) -> Result<(), ServiceError> {
        let signal = signal(text)?;
        self.get()?.signal(signal).await.map_err(ServiceError::inside)
    }

    /// Tells the terminal its new size.
    pub async fn resize(&self, size: TtySize) -> Result<(), ServiceError> {
        self.get()?.resize(size).await.map_err(ServiceError::inside)
    }
}
