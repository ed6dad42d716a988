//! The commands of the box: those that run, and the detached ones that ended lately.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use agentkernel_protocol::ByteVec;
use agentkernel_protocol::{ExecutionEntry, Failure, FailureKind, State};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::failure::failure;
use crate::log::Log;
use crate::report::Order;
use crate::supervised::Supervised;

/// Ended detached commands that are kept, with their logs.
const MAX_ENDED: usize = 256;

/// Bytes of a command's arguments that the list shows.
const MAX_SHOWN: usize = 4096;

/// One command.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) argv: Vec<ByteVec>,
    pub(crate) pid: i32,
    pub(crate) started: Instant,
    pub(crate) state: watch::Sender<State>,
    pub(crate) supervised: Rc<Supervised>,
    /// `Some` where it is detached.
    pub(crate) log: Option<Rc<Log>>,
}

impl Entry {
    /// Whether it runs.
    pub(crate) fn is_running(&self) -> bool {
        *self.state.borrow() == State::Running
    }

    /// Sends a signal to its process group, or ends its whole tree.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), Failure> {
        if !self.is_running() {
            return Err(failure(FailureKind::NotFound, format!("execution {} has ended", self.id)));
        }
        let order = match signal {
            libc::SIGKILL => Order::KillTree,
            1..=64 => Order::Signal(signal),
            _ => return Err(failure(FailureKind::Invalid, format!("there is no signal {signal}"))),
        };
        self.supervised.order(order);
        Ok(())
    }

    /// As the host is told of it.
    pub(crate) fn describe(&self) -> ExecutionEntry {
        ExecutionEntry {
            id: self.id.clone(),
            argv: self.argv.clone(),
            pid: self.pid.unsigned_abs(),
            detached: self.log.is_some(),
            state: *self.state.borrow(),
            age_ms: self.started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        }
    }
}

/// Arguments as the list shows them: cut off where they are very long.
pub(crate) fn shown(argv: &[ByteVec]) -> Vec<ByteVec> {
    let mut room = MAX_SHOWN;
    let mut shown = Vec::new();
    for argument in argv {
        if room == 0 {
            break;
        }
        let part = argument.get(..argument.len().min(room)).unwrap_or_default();
        // An empty argument takes room too.
        room = room.saturating_sub(part.len() + 1);
        shown.push(part.to_vec().into());
    }
    shown
}

/// All of them.
#[derive(Default)]
pub(crate) struct Table {
    entries: RefCell<BTreeMap<String, Rc<Entry>>>,
    ended: RefCell<VecDeque<String>>,
}

impl Table {
    /// Adds one that has just started.
    pub(crate) fn add(&self, entry: Rc<Entry>) {
        self.entries.borrow_mut().insert(entry.id.clone(), entry);
    }

    /// One has ended: it is kept for a while if it has a log.
    pub(crate) fn end(&self, entry: &Entry) {
        if entry.log.is_none() {
            self.entries.borrow_mut().remove(&entry.id);
            return;
        }
        let mut ended = self.ended.borrow_mut();
        ended.push_back(entry.id.clone());
        if ended.len() > MAX_ENDED
            && let Some(oldest) = ended.pop_front()
        {
            self.entries.borrow_mut().remove(&oldest);
        }
    }

    /// By id.
    pub(crate) fn find(&self, id: &str) -> Result<Rc<Entry>, Failure> {
        let entry = self.entries.borrow().get(id).cloned();
        entry.ok_or_else(|| failure(FailureKind::NotFound, format!("execution {id} is not there")))
    }

    /// All, oldest first.
    pub(crate) fn all(&self) -> Vec<Rc<Entry>> {
        let mut all: Vec<_> = self.entries.borrow().values().cloned().collect();
        all.sort_by_key(|entry| entry.started);
        all
    }
}
