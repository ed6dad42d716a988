//! One client's hold on a terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agentkernel_api::{self as api, ErrorCode};
use agentkernel_model::TtySize;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::{CommandControl, ServiceError};

/// What a terminal's client is told.
#[derive(Debug, Clone, PartialEq)]
pub enum TerminalEvent {
    /// What the terminal shows.
    Output(Bytes),
    /// The command has ended; all of its output was given out. The last word.
    Ended(Box<api::RunResult>),
    /// Somebody else has attached. The last word.
    Taken,
    /// Somebody has closed it, its sandbox was removed, or the server goes down. The last word.
    Closed,
}

/// Why a client's hold ended, where its terminal goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Held,
    Taken,
}

/// Input with the client that it is of.
pub(super) struct Typed {
    pub(super) client: u64,
    pub(super) bytes: Bytes,
}

/// A client's hold on a terminal. Dropping it detaches: the command goes on as long as the terminal's request said.
pub struct Attached {
    /// The terminal.
    pub id: String,
    /// Bytes that it has shown and that are no longer kept.
    pub dropped: u64,
    /// The end of what it has shown so far.
    pub scrollback: Bytes,
    pub(super) events: mpsc::Receiver<TerminalEvent>,
    pub(super) hold: watch::Receiver<Hold>,
    pub(super) input: TerminalInput,
    pub(super) over: bool,
}

impl Attached {
    /// The next event; after the last word [`TerminalEvent::Closed`]. Dropping the future loses nothing.
    pub async fn next(&mut self) -> TerminalEvent {
        if self.over {
            return TerminalEvent::Closed;
        }
        let Self { hold, events, .. } = self;
        let event = tokio::select! {
            biased;
            // A client that was replaced needn't take the rest first.
            () = taken(hold) => TerminalEvent::Taken,
            event = events.recv() => event.unwrap_or(TerminalEvent::Closed),
        };
        self.over = !matches!(event, TerminalEvent::Output(_));
        event
    }

    /// The way in.
    pub fn input(&self) -> TerminalInput {
        self.input.clone()
    }
}

/// Waits until somebody else has attached.
async fn taken(hold: &mut watch::Receiver<Hold>) {
    if hold.wait_for(|hold| *hold == Hold::Taken).await.is_err() {
        // The terminal is gone, and was not taken; what it has sent is still to be read.
        std::future::pending::<()>().await;
    }
}

/// What a client types, and the size of its window. Cheap to clone.
#[derive(Clone)]
pub struct TerminalInput {
    pub(super) client: u64,
    pub(super) current: Arc<AtomicU64>,
    pub(super) typed: mpsc::Sender<Typed>,
    pub(super) control: CommandControl,
}

impl TerminalInput {
    /// Passes input on; waits while the program doesn't read. Refused once somebody else has attached.
    pub async fn send(&self, bytes: Bytes) -> Result<(), ServiceError> {
        self.still_ours()?;
        let typed = Typed { client: self.client, bytes };
        let gone = |_| ServiceError::new(ErrorCode::NotFound, "the terminal's command takes no more input");
        self.typed.send(typed).await.map_err(gone)
    }

    /// Tells the terminal its new size.
    pub async fn resize(&self, size: TtySize) -> Result<(), ServiceError> {
        self.still_ours()?;
        self.control.resize(size).await
    }

    /// Sends a signal to the terminal's command.
    pub async fn signal(&self, text: &str) -> Result<(), ServiceError> {
        self.still_ours()?;
        self.control.signal(text).await
    }

    fn still_ours(&self) -> Result<(), ServiceError> {
        if self.current.load(Ordering::Acquire) == self.client {
            return Ok(());
        }
        Err(ServiceError::new(ErrorCode::Conflict, "somebody else has attached to the terminal"))
    }
}
