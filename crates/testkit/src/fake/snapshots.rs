//! Boxes that stand still and copies of them: files, and detached commands that have ended. A fake's command is a future,
//! which can be left alone but not copied.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use agentkernel_backend::{BackendError, BoxRecord, Lifetime, Snapshots};
use agentkernel_model::{Action, Feature, Isolation, Phase, PhaseError, SandboxSpec};
use async_trait::async_trait;

use super::FakeBackend;
use super::command::Command;
use super::fault::Step;
use super::machine::{Kept, Sandbox};
use super::tree::Tree;
use super::violation::Violation;

/// The file of a snapshot that names what the pretended machine remembers of it.
const KEY_FILE: &str = "fake.key";

/// As large as the memory of a fake box: a snapshot must take some room.
const MEMORY_BYTES: usize = 1 << 20;

/// What the machine remembers of a snapshot.
#[derive(Clone)]
pub(super) struct Frozen {
    spec: SandboxSpec,
    tree: Tree,
    commands: Vec<Arc<Command>>,
    next_pid: u32,
}

impl FakeBackend {
    /// The running box of `record`; the error where it doesn't run.
    fn running_box(
        &self,
        record: &BoxRecord,
        verb: &'static str,
        action: Action,
    ) -> Result<Arc<Sandbox>, BackendError> {
        let running = self.kept(record, verb, |kept| kept.running.clone())?;
        let source = PhaseError { phase: Phase::Stopped, action };
        running.ok_or_else(|| BackendError::WrongPhase { name: record.name.to_string(), source })
    }

    /// Notes what is wrong with a folder that a snapshot is to be written into.
    fn check_folder(&self, folder: &Path) {
        let why = match (std::fs::metadata(folder), std::fs::read_dir(folder)) {
            (Ok(found), Ok(mut entries)) => match found.permissions().mode() & 0o7777 {
                0o700 if entries.next().is_none() => return,
                0o700 => "it is not empty".to_owned(),
                mode => format!("it has mode {mode:o}"),
            },
            (Err(error), _) | (_, Err(error)) => error.to_string(),
        };
        self.note(Violation::BadSnapshotFolder { why: format!("{}: {why}", folder.display()) });
    }

    fn remembered(&self, folder: &Path) -> Result<Frozen, BackendError> {
        let key = std::fs::read_to_string(folder.join(KEY_FILE));
        let key = key.map_err(|error| BackendError::runtime(format!("read {}", folder.display()), error))?;
        let found = self.machine.with(|contents| contents.snapshots.get(&key).cloned());
        found.ok_or_else(|| BackendError::NotFound { what: format!("what was kept as {key:?}") })
    }

    /// Whether the box of `record` stands still.
    pub fn is_paused(&self, id: &str) -> bool {
        self.machine.with(|contents| {
            let running = contents.kept.get(id).and_then(|kept| kept.running.as_ref());
            running.is_some_and(|sandbox| *sandbox.paused.borrow())
        })
    }
}

#[async_trait]
impl Snapshots for FakeBackend {
    async fn pause(&self, record: &BoxRecord) -> Result<(), BackendError> {
        let _verb = self.enter(record, "pause");
        let end = self.machine.faults.before(Step::Pause).await?;
        self.running_box(record, "pause", Action::Pause)?.paused.send_replace(true);
        end.done(())
    }

    async fn resume(&self, record: &BoxRecord) -> Result<(), BackendError> {
        let _verb = self.enter(record, "resume");
        let end = self.machine.faults.before(Step::Resume).await?;
        self.running_box(record, "resume", Action::Resume)?.paused.send_replace(false);
        end.done(())
    }

    async fn take(&self, record: &BoxRecord, folder: &Path) -> Result<(), BackendError> {
        let _verb = self.enter(record, "take");
        let sandbox = self.running_box(record, "take", Action::Copy)?;
        self.check_folder(folder);
        if !record.spec.mounts.is_empty() {
            return Err(BackendError::Unsupported {
                backend: self.name.to_string(),
                what: format!("{} of a sandbox with mounts", Feature::Snapshots),
                fix: "leave the mounts out".to_owned(),
            });
        }
        let before = sandbox.paused.send_replace(true);
        // A fault leaves it standing, as the contract allows.
        let end = self.machine.faults.before(Step::Take).await?;
        let key = format!("{:016x}", self.machine.number());
        let failed = |error| BackendError::runtime(format!("write {}", folder.display()), error);
        std::fs::write(folder.join("memory"), vec![1; MEMORY_BYTES]).map_err(failed)?;
        let commands = sandbox.commands.lock().expect("no panic while locked").clone();
        let frozen = Frozen {
            spec: record.spec.clone(),
            tree: sandbox.files(|tree| tree.clone()),
            commands: commands.values().filter_map(|command| command.copy()).map(Arc::new).collect(),
            next_pid: sandbox.next_pid.load(Ordering::Relaxed),
        };
        self.machine.with(|contents| contents.snapshots.insert(key.clone(), frozen));
        std::fs::write(folder.join(KEY_FILE), key).map_err(failed)?;
        end.done(())?;
        sandbox.paused.send_replace(before);
        Ok(())
    }

    async fn restore(&self, record: &BoxRecord, folder: &Path) -> Result<Isolation, BackendError> {
        let _verb = self.enter(record, "restore");
        let end = self.machine.faults.before(Step::Restore).await?;
        let isolation = self.check_spec(&record.spec, Lifetime::Persistent)?;
        self.check_record(record);
        let frozen = self.remembered(folder)?;
        if nameless(&frozen.spec) != nameless(&record.spec) {
            self.note(Violation::RestoredAsAnother { name: record.name.to_string() });
        }
        if self.machine.with(|contents| contents.kept.contains_key(&record.id)) {
            self.note(Violation::CreatedTwice { name: record.name.to_string() });
            return Err(BackendError::AlreadyExists { what: format!("sandbox {:?}", record.name.as_str()) });
        }
        let tree = Arc::new(Mutex::new(frozen.tree));
        let sandbox = self.sandbox(record.id.clone(), &record.spec, Arc::clone(&tree));
        sandbox.next_pid.store(frozen.next_pid, Ordering::Relaxed);
        let copies = frozen.commands.iter().filter_map(|command| command.copy());
        let copies = copies.map(|command| (command.id.clone(), Arc::new(command))).collect();
        *sandbox.commands.lock().expect("no panic while locked") = copies;
        let kept = Kept { tree, running: Some(sandbox) };
        self.machine.with(|contents| contents.kept.insert(record.id.clone(), kept));
        end.done(isolation)
    }
}

/// A specification without what a copy has of its own.
fn nameless(spec: &SandboxSpec) -> SandboxSpec {
    SandboxSpec { hostname: String::new(), env: Vec::new(), ports: Vec::new(), ..spec.clone() }
}
