//! The commands of the box: those that run, and the detached ones that ended lately, those of earlier agents among them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use agentkernel_protocol::ByteVec;
use agentkernel_protocol::{ExecutionEntry, Failure, FailureKind, State};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::failure::failure;
use crate::log::{Kept, Log};
use crate::report::Order;
use crate::supervised::Supervised;

/// Ended detached commands that are kept, with their logs.
const MAX_ENDED: usize = 256;

/// Bytes of their logs in sum. The log of the one that ended last is kept whatever its size.
const MAX_ENDED_BYTES: u64 = 4 << 30;

/// Bytes of a command's arguments that the list shows.
pub(crate) const MAX_SHOWN: usize = 4096;

/// When a command started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Born {
    /// Under an earlier agent: what its clock said.
    Earlier(SystemTime),
    /// Under this one.
    Here(Instant),
}

impl Born {
    /// Since then.
    fn age(self) -> Duration {
        match self {
            Self::Earlier(time) => time.elapsed().unwrap_or_default(),
            Self::Here(instant) => instant.elapsed(),
        }
    }
}

/// One command.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) argv: Vec<ByteVec>,
    pub(crate) pid: i32,
    pub(crate) started: Born,
    pub(crate) state: watch::Sender<State>,
    /// `None` for one of an earlier agent, which has ended.
    pub(crate) supervised: Option<Rc<Supervised>>,
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
        let Some(supervised) = self.supervised.as_ref().filter(|_| self.is_running()) else {
            return Err(failure(FailureKind::NotFound, format!("execution {} has ended", self.id)));
        };
        let order = match signal {
            libc::SIGKILL => Order::KillTree,
            1..=64 => Order::Signal(signal),
            _ => return Err(failure(FailureKind::Invalid, format!("there is no signal {signal}"))),
        };
        supervised.order(order);
        Ok(())
    }

    /// Writes down where it is, if it is detached: `born` is when it started, by the clock.
    pub(crate) fn note(&self, born: SystemTime) {
        if let Some(log) = &self.log {
            log.note(&self.describe(), born);
        }
    }

    /// As the host is told of it.
    pub(crate) fn describe(&self) -> ExecutionEntry {
        ExecutionEntry {
            id: self.id.clone(),
            argv: self.argv.clone(),
            pid: self.pid.unsigned_abs(),
            detached: self.log.is_some(),
            state: *self.state.borrow(),
            age_ms: self.started.age().as_millis().try_into().unwrap_or(u64::MAX),
        }
    }
}

impl From<Kept> for Entry {
    fn from(kept: Kept) -> Self {
        let Kept { entry, started, log } = kept;
        Self {
            id: entry.id,
            argv: entry.argv,
            pid: i32::try_from(entry.pid).unwrap_or(0),
            started: Born::Earlier(started),
            state: watch::Sender::new(entry.state),
            supervised: None,
            log: Some(log),
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
        self.ended.borrow_mut().push_back(entry.id.clone());
        self.forget_oldest();
    }

    /// Adds those of earlier agents, oldest first.
    pub(crate) fn add_kept(&self, kept: Vec<Kept>) {
        for entry in kept.into_iter().map(Entry::from) {
            self.ended.borrow_mut().push_back(entry.id.clone());
            self.add(Rc::new(entry));
        }
        self.forget_oldest();
    }

    fn forget_oldest(&self) {
        let (mut entries, mut ended) = (self.entries.borrow_mut(), self.ended.borrow_mut());
        let log = |entries: &BTreeMap<String, Rc<Entry>>, id: &String| {
            entries.get(id).and_then(|entry| entry.log.clone())
        };
        let sizes = ended.iter().map(|id| log(&entries, id).map_or(0, |log| log.bytes()));
        let mut bytes: u64 = sizes.sum();
        while ended.len() > MAX_ENDED || (ended.len() > 1 && bytes > MAX_ENDED_BYTES) {
            let Some(oldest) = ended.pop_front() else { return };
            if let Some(log) = log(&entries, &oldest) {
                bytes = bytes.saturating_sub(log.bytes());
                log.remove();
            }
            entries.remove(&oldest);
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
