//! The pretended machine that all instances of one fake share: what runs, what is kept, who owns it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use agentkernel_backend::{BackendError, ProcessInfo};
use agentkernel_model::{BackendName, ByteString, Capabilities, ExecId, Feature, Outcome, SandboxSpec};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};

use super::command::{Command, Ending};
use super::ephemeral::Transit;
use super::fault::Faults;
use super::images::Shelf;
use super::snapshots::Frozen;
use super::tree::Tree;
use super::violation::Violations;

/// One call of a lifecycle verb, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `launch`, `create`, `start`, `stop`, `remove`, `connect`, `reclaim`, `destroy`, `hand over`, `take over`, `pause`,
    /// `resume`, `take`, `restore`.
    pub verb: &'static str,
    /// The record's name, or the box's id for `destroy`, `hand over` and `take over`; empty for `launch` and `reclaim`.
    pub sandbox: String,
}

/// A persistent sandbox.
pub(super) struct Kept {
    pub(super) tree: Arc<Mutex<Tree>>,
    pub(super) running: Option<Arc<Sandbox>>,
}

/// A box without a record.
pub(super) struct Ephemeral {
    pub(super) owner: u64,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) orphaned: bool,
    /// While it is on its way between two processes.
    pub(super) transit: Option<Transit>,
}

impl Contents {
    /// Boxes whose descriptors were closed on the way have ended.
    pub(super) fn settle(&mut self) {
        for entry in self.ephemeral.values_mut() {
            if entry.transit.as_ref().is_some_and(Transit::is_lost) {
                entry.transit = None;
                entry.sandbox.end();
                entry.orphaned = true;
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Contents {
    pub(super) kept: BTreeMap<String, Kept>,
    pub(super) ephemeral: BTreeMap<String, Ephemeral>,
    pub(super) in_flight: BTreeMap<String, &'static str>,
    pub(super) dead_processes: BTreeSet<u64>,
    pub(super) calls: Vec<Call>,
    pub(super) launched: Vec<SandboxSpec>,
    pub(super) images: Shelf,
    pub(super) snapshots: BTreeMap<String, Frozen>,
}

/// How output is delivered.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) chunk_sizes: Arc<[usize]>,
    pub(super) ending: Ending,
}

#[derive(Default)]
pub(super) struct Machine {
    pub(super) contents: Mutex<Contents>,
    pub(super) faults: Arc<Faults>,
    pub(super) violations: Violations,
    pub(super) next: AtomicU64,
}

impl Machine {
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn with<T>(&self, use_it: impl FnOnce(&mut Contents) -> T) -> T {
        let mut contents = self.contents.lock().expect("no panic while locked");
        contents.settle();
        use_it(&mut contents)
    }
}

/// A process of a box: any command, and each program that its shell runs.
pub(super) struct Process {
    pub(super) parent: u32,
    pub(super) uid: u32,
    pub(super) argv: Vec<ByteString>,
    pub(super) kill: watch::Sender<bool>,
}

/// One running box.
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) backend: BackendName,
    pub(super) capabilities: Capabilities,
    pub(super) spec: SandboxSpec,
    pub(super) tree: Arc<Mutex<Tree>>,
    pub(super) ended: watch::Sender<bool>,
    /// Whether its time stands still.
    pub(super) paused: watch::Sender<bool>,
    pub(super) commands: Mutex<BTreeMap<ExecId, Arc<Command>>>,
    pub(super) processes: Mutex<BTreeMap<u32, Process>>,
    pub(super) ports: Mutex<BTreeMap<u16, mpsc::UnboundedSender<DuplexStream>>>,
    pub(super) next_pid: AtomicU32,
    pub(super) delivery: Delivery,
    pub(super) faults: Arc<Faults>,
    pub(super) violations: Violations,
}

impl Sandbox {
    pub(super) fn files<T>(&self, use_it: impl FnOnce(&mut Tree) -> T) -> T {
        use_it(&mut self.tree.lock().expect("no panic while locked"))
    }

    pub(super) fn pid(&self) -> u32 {
        self.next_pid.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits until the box ends.
    pub(super) async fn gone(&self) {
        let mut ended = self.ended.subscribe();
        // The sender is borrowed, so it can't be closed.
        ended.wait_for(|ended| *ended).await.expect("the sender lives");
    }

    /// Waits until its time goes on, or it has ended.
    pub(super) async fn goes_on(&self) {
        let mut paused = self.paused.subscribe();
        tokio::select! {
            // The sender is borrowed, so it can't be closed.
            result = paused.wait_for(|paused| !*paused) => drop(result.expect("the sender lives")),
            () = self.gone() => {}
        }
    }

    /// Does `work`, but not while the box stands still.
    pub(super) async fn in_its_time<T>(&self, work: impl Future<Output = T>) -> T {
        let mut paused = self.paused.subscribe();
        tokio::pin!(work);
        loop {
            drop(paused.wait_for(|paused| !*paused).await.expect("the sender lives"));
            tokio::select! {
                biased;
                result = paused.wait_for(|paused| *paused) => drop(result.expect("the sender lives")),
                done = &mut work => return done,
            }
        }
    }

    /// Ends it and everything in it.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
        for command in self.commands.lock().expect("no panic while locked").values() {
            command.kill(Outcome::BoxEnded);
        }
        self.ports.lock().expect("no panic while locked").clear();
    }

    /// Refuses what the capabilities exclude.
    pub(super) fn needs(&self, feature: Feature) -> Result<(), BackendError> {
        match self.capabilities.why_missing(feature) {
            None => Ok(()),
            Some(why) => Err(BackendError::Unsupported {
                backend: self.backend.to_string(),
                what: feature.to_string(),
                fix: why.to_owned(),
            }),
        }
    }

    /// Enters a process into the list for as long as the guard lives.
    pub(super) fn register(
        self: &Arc<Self>,
        pid: u32,
        parent: u32,
        uid: u32,
        argv: Vec<ByteString>,
    ) -> (ProcessGuard, watch::Receiver<bool>) {
        let (kill, killed) = watch::channel(false);
        let process = Process { parent, uid, argv, kill };
        self.processes.lock().expect("no panic while locked").insert(pid, process);
        (ProcessGuard { sandbox: Arc::clone(self), pid }, killed)
    }

    pub(super) fn process_list(&self) -> Vec<ProcessInfo> {
        let processes = self.processes.lock().expect("no panic while locked");
        let entry = |(pid, process): (&u32, &Process)| ProcessInfo {
            pid: *pid,
            parent: process.parent,
            uid: process.uid,
            state: 'S',
            resident_bytes: 4096,
            cpu_time: std::time::Duration::ZERO,
            command: ByteString(
                process.argv.iter().map(|argument| argument.as_bytes()).collect::<Vec<_>>().join(&b' '),
            ),
        };
        processes.iter().map(entry).collect()
    }
}

/// Takes a process off the list.
pub(super) struct ProcessGuard {
    sandbox: Arc<Sandbox>,
    pid: u32,
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        self.sandbox.processes.lock().expect("no panic while locked").remove(&self.pid);
    }
}
