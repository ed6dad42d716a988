//! The backend itself.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkernel_backend::{
    Backend, BackendError, BoxRecord, EphemeralBox, Guest, HandOver, ImageBuilder, Images, Lifetime, Probe,
    Reclaimed, Snapshots, refuse_unsupported,
};
use agentkernel_model::{
    Action, BackendName, Boundary, Capabilities, Feature, ImageConfig, Isolation, Outcome, Phase, PhaseError,
    SandboxSpec, Signal,
};
use async_trait::async_trait;

use super::command::Ending;
use super::ephemeral::FakeBox;
use super::fault::{Fault, Step};
use super::guest::FakeGuest;
use super::machine::{Call, Contents, Delivery, Ephemeral, Kept, Machine, Sandbox};
use super::tree::Tree;
use super::violation::Violation;

/// A strict backend in memory. Clones are the same process's view of it; [`FakeBackend::another_process`] is another's.
#[derive(Clone)]
pub struct FakeBackend {
    pub(super) machine: Arc<Machine>,
    process: u64,
    pub(super) name: BackendName,
    missing: Vec<(Feature, String)>,
    capabilities: Capabilities,
    probe: Probe,
    delivery: Delivery,
    variant: Arc<Mutex<String>>,
    /// The configuration of what it builds, where it builds.
    pub(super) builder: Option<ImageConfig>,
}

impl Default for FakeBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeBackend {
    /// One named `fake` that claims every feature. Limits, networks, mounts and terminals are accepted without effect:
    /// tests look at [`FakeBackend::launched`] for what was asked.
    pub fn new() -> Self {
        let machine = Arc::new(Machine::default());
        Self {
            process: machine.number(),
            machine,
            name: "fake".parse().expect("a valid name"),
            missing: Vec::new(),
            capabilities: Capabilities::all_but([]),
            probe: Probe::Ready { detail: "in memory".to_owned() },
            delivery: Delivery { chunk_sizes: [1, 65_537, 3, 4096].into(), ending: Ending::default() },
            variant: Arc::default(),
            builder: None,
        }
    }

    /// One that refuses every feature it can't simulate.
    pub fn honest() -> Self {
        let why = "the fake runs nothing on this machine; use a real backend";
        let missing = Feature::ALL.into_iter().filter(|feature| {
            matches!(
                feature,
                Feature::OciImages
                    | Feature::Network
                    | Feature::PublishedPorts
                    | Feature::Mounts
                    | Feature::Terminal
            ) || feature.is_limit()
        });
        missing.fold(Self::new(), |fake, feature| fake.without(feature, why))
    }

    /// With another name.
    ///
    /// # Panics
    /// Where `name` is not a backend name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.parse().expect("a valid backend name");
        self
    }

    /// Changes what makes its boxes differ from those of other instances, here and in clones: see [`Backend::variant`].
    pub fn set_variant(&self, variant: &str) {
        *self.variant.lock().expect("no panic while locked") = variant.to_owned();
    }

    /// Without `feature`, for the reason `why`.
    pub fn without(mut self, feature: Feature, why: &str) -> Self {
        self.missing.push((feature, why.to_owned()));
        self.capabilities = Capabilities::all_but(self.missing.clone());
        self
    }

    /// Not ready on this machine.
    pub fn not_ready(mut self, why: &str, fix: &str) -> Self {
        self.probe = Probe::NotReady { why: why.to_owned(), fix: fix.to_owned() };
        self
    }

    /// Delivers output in pieces of at most these sizes, in turn.
    pub fn with_chunk_sizes(mut self, sizes: &[usize]) -> Self {
        assert!(!sizes.is_empty(), "at least one size");
        self.delivery.chunk_sizes = sizes.into();
        self
    }

    /// Decides what the host learns first at a command's end.
    pub fn with_ending(mut self, ending: Ending) -> Self {
        self.delivery.ending = ending;
        self
    }

    /// The same machine and settings, seen from another process.
    pub fn another_process(&self) -> Self {
        Self { process: self.machine.number(), ..self.clone() }
    }

    /// As if this instance's process had got SIGKILL: its ephemeral boxes end and wait for recovery by another.
    pub fn kill_process(&self) {
        self.machine.with(|contents| {
            contents.dead_processes.insert(self.process);
            for entry in contents.ephemeral.values_mut().filter(|entry| entry.owner == self.process) {
                entry.sandbox.end();
                entry.orphaned = true;
            }
        });
    }

    /// The next call of `step` fails and changes nothing.
    pub fn fail_at(&self, step: Step) {
        self.inject(step, Fault::Before);
    }

    /// The next call of `step` fails in this way; several queue up.
    pub fn inject(&self, step: Step, fault: Fault) {
        self.machine.faults.add(step, fault);
    }

    /// Ends the box without a record `id` from inside, as if its agent had been killed.
    pub fn end_box(&self, id: &str) {
        self.machine.with(|contents| contents.ephemeral.get(id).map(|entry| entry.sandbox.end()));
    }

    /// All lifecycle calls so far, of all processes.
    pub fn calls(&self) -> Vec<Call> {
        self.machine.with(|contents| contents.calls.clone())
    }

    /// The specifications of all boxes launched or started so far.
    pub fn launched(&self) -> Vec<SandboxSpec> {
        self.machine.with(|contents| contents.launched.clone())
    }

    pub(super) fn note(&self, violation: Violation) {
        self.machine.violations.note(violation);
    }

    pub(super) fn called(&self, verb: &'static str, sandbox: &str) {
        self.machine.with(|contents| contents.calls.push(Call { verb, sandbox: sandbox.to_owned() }));
    }

    pub(super) fn check_spec(
        &self,
        spec: &SandboxSpec,
        lifetime: Lifetime,
    ) -> Result<Isolation, BackendError> {
        if spec.backend != self.name {
            self.note(Violation::WrongBackend { named: spec.backend.to_string() });
        }
        let waived =
            refuse_unsupported(&self.name, &self.capabilities, spec, lifetime).inspect_err(|error| {
                self.note(Violation::NotRefused { what: error.to_string() });
            })?;
        Ok(self.isolation(waived))
    }

    pub(super) fn isolation(&self, waived: Vec<Feature>) -> Isolation {
        Isolation {
            backend: self.name.clone(),
            boundary: Boundary::Fake,
            rootless: true,
            layers: vec!["memory of the test process".to_owned()],
            not_enforced: waived.into_iter().map(|feature| feature.to_string()).collect(),
        }
    }

    pub(super) fn check_record(&self, record: &BoxRecord) {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let why = match std::fs::metadata(&record.dir) {
            _ if record.id.len() != 16 || !record.id.bytes().all(hex) => format!("id {:?}", record.id),
            Err(error) => format!("folder {}: {error}", record.dir.display()),
            Ok(found) if !found.is_dir() || found.permissions().mode() & 0o077 != 0 => {
                format!("folder {} has mode {:o}", record.dir.display(), found.permissions().mode())
            }
            Ok(_) => return,
        };
        self.note(Violation::BadRecord { name: record.name.to_string(), why });
    }

    pub(super) fn sandbox(&self, id: String, spec: &SandboxSpec, tree: Arc<Mutex<Tree>>) -> Arc<Sandbox> {
        self.machine.with(|contents| contents.launched.push(spec.clone()));
        Arc::new(Sandbox {
            id,
            backend: self.name.clone(),
            capabilities: self.capabilities.clone(),
            spec: spec.clone(),
            tree,
            ended: tokio::sync::watch::Sender::new(false),
            paused: tokio::sync::watch::Sender::new(false),
            commands: Mutex::default(),
            processes: Mutex::default(),
            ports: Mutex::default(),
            next_pid: AtomicU32::new(2),
            delivery: self.delivery.clone(),
            faults: Arc::clone(&self.machine.faults),
            violations: self.machine.violations.clone(),
        })
    }

    /// Marks `verb` as under way on the sandbox until the guard is dropped.
    pub(super) fn enter(&self, record: &BoxRecord, verb: &'static str) -> Verb<'_> {
        self.called(verb, record.name.as_str());
        let other = self.machine.with(|contents| contents.in_flight.insert(record.id.clone(), verb));
        if let Some(other) = other {
            self.note(Violation::Concurrent { name: record.name.to_string(), verbs: [other, verb] });
        }
        Verb { machine: &self.machine, id: record.id.clone() }
    }

    /// What is kept of `record`'s sandbox, or the error and the violation.
    pub(super) fn kept<T>(
        &self,
        record: &BoxRecord,
        verb: &'static str,
        use_it: impl FnOnce(&mut Kept) -> T,
    ) -> Result<T, BackendError> {
        let found = self.machine.with(|contents| contents.kept.get_mut(&record.id).map(use_it));
        found.ok_or_else(|| {
            self.note(Violation::WithoutCreate { name: record.name.to_string(), verb });
            BackendError::NotFound { what: format!("sandbox {:?}", record.name.as_str()) }
        })
    }
}

pub(super) struct Verb<'a> {
    machine: &'a Machine,
    id: String,
}

impl Drop for Verb<'_> {
    fn drop(&mut self) {
        self.machine.with(|contents| contents.in_flight.remove(&self.id));
    }
}

#[async_trait]
impl Backend for FakeBackend {
    fn name(&self) -> &BackendName {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn images(&self) -> Option<&dyn Images> {
        self.capabilities.has(Feature::OciImages).then_some(self as &dyn Images)
    }

    fn builder(&self) -> Option<&dyn ImageBuilder> {
        self.builder.is_some().then_some(self as &dyn ImageBuilder)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.capabilities.has(Feature::Snapshots).then_some(self as &dyn Snapshots)
    }

    async fn probe(&self) -> Probe {
        self.probe.clone()
    }

    async fn launch(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        self.called("launch", "");
        let end = self.machine.faults.before(Step::Launch).await?;
        let isolation = self.check_spec(spec, Lifetime::Ephemeral)?;
        self.check_image(spec);
        self.needs_image(spec)?;
        let id = format!("{:016x}", self.machine.number());
        let tree = Arc::new(Mutex::new(Tree::new(spec.read_only_root)));
        let sandbox = self.sandbox(id.clone(), spec, tree);
        let entry =
            Ephemeral { owner: self.process, sandbox: Arc::clone(&sandbox), orphaned: false, transit: None };
        self.machine.with(|contents| contents.ephemeral.insert(id.clone(), entry));
        let machine = Arc::clone(&self.machine);
        end.done(()).inspect_err(|_| {
            // Whoever gets an error gets no handle: the half-made box is for recovery.
            sandbox.end();
            self.machine.with(|contents| orphan(contents, &id));
        })?;
        Ok(Box::new(FakeBox {
            machine,
            sandbox,
            isolation,
            owner: self.process,
            destroyed: false,
            spoken: false.into(),
            taken_over: false,
        }))
    }

    async fn take_over(&self, handed: HandOver) -> Result<Box<dyn EphemeralBox>, BackendError> {
        let id = handed.state["id"].as_str().unwrap_or_default().to_owned();
        self.called("take over", &id);
        let end = self.machine.faults.before(Step::TakeOver).await?;
        let strange =
            || BackendError::Invalid { what: "what was handed over is no box of this backend".to_owned() };
        if handed.backend != self.name || handed.descriptors.len() != 1 {
            return Err(strange());
        }
        end.done(())?;
        let sandbox = self.machine.with(|contents| {
            let entry = contents.ephemeral.get_mut(&id).filter(|entry| entry.transit.is_some())?;
            entry.transit = None;
            entry.owner = self.process;
            Some(Arc::clone(&entry.sandbox))
        });
        let sandbox = sandbox.ok_or_else(strange)?;
        let isolation = self.check_spec(&sandbox.spec, Lifetime::Ephemeral)?;
        Ok(Box::new(FakeBox {
            machine: Arc::clone(&self.machine),
            sandbox,
            isolation,
            owner: self.process,
            destroyed: false,
            spoken: false.into(),
            taken_over: true,
        }))
    }

    fn variant(&self) -> String {
        self.variant.lock().expect("no panic while locked").clone()
    }

    async fn create(&self, record: &BoxRecord) -> Result<(), BackendError> {
        let _verb = self.enter(record, "create");
        let end = self.machine.faults.before(Step::Create).await?;
        self.check_spec(&record.spec, Lifetime::Persistent)?;
        self.check_image(&record.spec);
        self.check_record(record);
        let there = self.machine.with(|contents| {
            let there = contents.kept.contains_key(&record.id);
            contents.kept.entry(record.id.clone()).or_insert_with(|| Kept {
                tree: Arc::new(Mutex::new(Tree::new(record.spec.read_only_root))),
                running: None,
            });
            there
        });
        if there {
            self.note(Violation::CreatedTwice { name: record.name.to_string() });
        }
        end.done(())
    }

    async fn start(&self, record: &BoxRecord) -> Result<Isolation, BackendError> {
        let _verb = self.enter(record, "start");
        let end = self.machine.faults.before(Step::Start).await?;
        let isolation = self.check_spec(&record.spec, Lifetime::Persistent)?;
        self.check_record(record);
        self.needs_image(&record.spec)?;
        let start = |kept: &mut Kept| kept.running.is_none().then(|| Arc::clone(&kept.tree));
        if let Some(tree) = self.kept(record, "start", start)? {
            let sandbox = self.sandbox(record.id.clone(), &record.spec, tree);
            self.kept(record, "start", |kept| kept.running = Some(sandbox))?;
        }
        end.done(isolation)
    }

    async fn stop(&self, record: &BoxRecord, grace: Duration) -> Result<(), BackendError> {
        let _verb = self.enter(record, "stop");
        let end = self.machine.faults.before(Step::Stop).await?;
        if let Some(sandbox) = self.kept(record, "stop", |kept| kept.running.take())? {
            let stands = *sandbox.paused.borrow();
            if stands && !grace.is_zero() {
                self.note(Violation::StoppedWhilePaused { name: record.name.to_string() });
            }
            if !grace.is_zero() && !stands {
                let commands = sandbox.commands.lock().expect("no panic while locked").clone();
                for command in commands.values() {
                    command.kill(Outcome::Signaled(Signal::TERM));
                }
                for command in commands.values() {
                    command.ended().await;
                }
            }
            sandbox.end();
        }
        end.done(())
    }

    async fn remove(&self, record: &BoxRecord) -> Result<(), BackendError> {
        let _verb = self.enter(record, "remove");
        let end = self.machine.faults.before(Step::Remove).await?;
        if !record.dir.is_dir() {
            self.note(Violation::FolderRemovedFirst { name: record.name.to_string() });
        }
        let kept = self.machine.with(|contents| contents.kept.remove(&record.id));
        if let Some(sandbox) = kept.and_then(|kept| kept.running) {
            sandbox.end();
        }
        end.done(())
    }

    async fn running(&self, record: &BoxRecord) -> Result<Option<Isolation>, BackendError> {
        let end = self.machine.faults.before(Step::Running).await?;
        let runs =
            self.machine.with(|contents| contents.kept.get(&record.id).is_some_and(|k| k.running.is_some()));
        let lifetime = Lifetime::Persistent;
        let waived = refuse_unsupported(&self.name, &self.capabilities, &record.spec, lifetime)?;
        end.done(runs.then(|| self.isolation(waived)))
    }

    async fn connect(&self, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError> {
        self.called("connect", record.name.as_str());
        let end = self.machine.faults.before(Step::Connect).await?;
        match self.kept(record, "connect", |kept| kept.running.clone())? {
            Some(sandbox) => end.done(Arc::new(FakeGuest { sandbox })),
            None => {
                self.note(Violation::ConnectedWhileStopped { name: record.name.to_string() });
                Err(BackendError::WrongPhase {
                    name: record.name.to_string(),
                    source: PhaseError { phase: Phase::Stopped, action: Action::Use },
                })
            }
        }
    }

    async fn reclaim(&self, _records: &[BoxRecord]) -> Result<Reclaimed, BackendError> {
        self.called("reclaim", "");
        let end = self.machine.faults.before(Step::Reclaim).await?;
        let objects = self.machine.with(|contents| {
            let dead = &contents.dead_processes;
            let orphans: Vec<String> = contents
                .ephemeral
                .iter()
                .filter(|(_, entry)| entry.orphaned || dead.contains(&entry.owner))
                .map(|(id, _)| id.clone())
                .collect();
            orphans.iter().for_each(|id| drop(contents.ephemeral.remove(id)));
            orphans
        });
        end.done(Reclaimed { objects: objects.into_iter().map(|id| format!("fake box {id}")).collect() })
    }
}

fn orphan(contents: &mut Contents, id: &str) {
    if let Some(entry) = contents.ephemeral.get_mut(id) {
        entry.orphaned = true;
    }
}
