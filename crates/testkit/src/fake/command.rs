//! One command of a fake box: its state, how it is killed, where its output goes.

use std::sync::Mutex;
use std::time::Instant;

use agentkernel_backend::{ExecutionInfo, ExecutionState};
use agentkernel_model::{ByteString, ExecId, Outcome};
use tokio::sync::watch;

use super::log::Log;

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// What the host learns first at a command's end; the contract allows both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// How it ended, then the end of its output.
    ExitFirst,
    /// The end of its output, then how it ended.
    OutputFirst,
    /// One and the other in turn.
    #[default]
    Alternate,
}

impl Ending {
    pub(super) fn exit_first(self, turn: u32) -> bool {
        match self {
            Self::ExitFirst => true,
            Self::OutputFirst => false,
            Self::Alternate => turn.is_multiple_of(2),
        }
    }
}

/// One command.
pub(super) struct Command {
    pub(super) id: ExecId,
    pub(super) argv: Vec<ByteString>,
    pub(super) pid: u32,
    pub(super) started: Instant,
    /// How it ended.
    pub(super) outcome: watch::Sender<Option<Outcome>>,
    /// Set to end it from outside.
    pub(super) kill: watch::Sender<Option<Outcome>>,
    pub(super) log: Option<Mutex<Log>>,
    /// Counts what was added to the log.
    pub(super) logged: watch::Sender<u64>,
    reading: Mutex<Reading>,
}

/// Whether the host read what it had to.
#[derive(Default)]
struct Reading {
    waited: bool,
    dropped_early: Vec<&'static str>,
}

impl Command {
    pub(super) fn new(id: ExecId, argv: Vec<ByteString>, pid: u32, log_limit: Option<u64>) -> Self {
        Self {
            id,
            argv,
            pid,
            started: Instant::now(),
            outcome: watch::Sender::new(None),
            kill: watch::Sender::new(None),
            log: log_limit.map(|limit| Mutex::new(Log::new(limit))),
            logged: watch::Sender::new(0),
            reading: Mutex::default(),
        }
    }

    /// The same in a copy of its box, where it has ended and has a log: a fake's running command can't be copied.
    pub(super) fn copy(&self) -> Option<Self> {
        let outcome = (*self.outcome.borrow())?;
        let log = self.log.as_ref()?.lock().expect("no panic while locked").clone();
        Some(Self {
            started: self.started,
            outcome: watch::Sender::new(Some(outcome)),
            log: Some(Mutex::new(log)),
            ..Self::new(self.id.clone(), self.argv.clone(), self.pid, None)
        })
    }

    pub(super) fn was_killed(&self) -> bool {
        self.kill.borrow().is_some()
    }

    /// Ends it as `outcome`; the first word counts.
    pub(super) fn kill(&self, outcome: Outcome) {
        self.kill.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(outcome);
            }
            first
        });
    }

    /// Notes that a reader of `stream` was dropped before its end; true where that is known to lose output. Before the
    /// host has waited for the command it may yet be dropping all of it, which is a kill.
    pub(super) fn dropped_early(&self, stream: &'static str) -> bool {
        let mut reading = self.reading.lock().expect("no panic while locked");
        if !reading.waited {
            reading.dropped_early.push(stream);
        }
        reading.waited && !self.was_killed()
    }

    /// Notes that the host has waited; returns the streams whose output it had thrown away.
    pub(super) fn waited(&self) -> Vec<&'static str> {
        let mut reading = self.reading.lock().expect("no panic while locked");
        reading.waited = true;
        let lost = std::mem::take(&mut reading.dropped_early);
        if self.was_killed() { Vec::new() } else { lost }
    }

    /// Waits until somebody wants it to end.
    pub(super) async fn killed(&self) -> Outcome {
        wait_for(&self.kill).await
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> Outcome {
        wait_for(&self.outcome).await
    }

    pub(super) fn state(&self) -> ExecutionState {
        self.outcome.borrow().map_or(ExecutionState::Running, ExecutionState::Ended)
    }

    pub(super) fn info(&self) -> ExecutionInfo {
        ExecutionInfo {
            id: self.id.clone(),
            argv: self.argv.clone(),
            pid: self.pid,
            detached: self.log.is_some(),
            state: self.state(),
            age: self.started.elapsed(),
        }
    }

    pub(super) fn add_to_log(&self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &self.log {
            log.lock().expect("no panic while locked").push(stream, bytes);
            self.logged.send_modify(|count| *count += 1);
        }
    }
}

async fn wait_for(sender: &watch::Sender<Option<Outcome>>) -> Outcome {
    let mut receiver = sender.subscribe();
    loop {
        if let Some(outcome) = *receiver.borrow_and_update() {
            return outcome;
        }
        // The sender is borrowed, so it can't be closed.
        receiver.changed().await.expect("the sender lives");
    }
}
