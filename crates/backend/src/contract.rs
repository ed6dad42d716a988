//! What a backend is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_model::{BackendName, Capabilities, Isolation, SandboxName, SandboxSpec};
use async_trait::async_trait;

use crate::{BackendError, EndSignal, Guest, HandOver, ImageBuilder, Images, Snapshots};

/// Whether a backend can be used here and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Yes; with what is worth knowing (version, mode).
    Ready {
        /// One line for people.
        detail: String,
    },
    /// No.
    NotReady {
        /// Why.
        why: String,
        /// The command or step that would change it.
        fix: String,
    },
}

/// What a backend is told of one persistent sandbox. It keeps nothing else about it in memory: every call may come from
/// another process than the last.
#[derive(Debug, Clone)]
pub struct BoxRecord {
    /// The sandbox's name, unique for one user on one machine.
    pub name: SandboxName,
    /// A random, never reused id of 16 lower-case hex digits: what names cgroups, interfaces and containers.
    pub id: String,
    /// How it was asked for.
    pub spec: SandboxSpec,
    /// A private folder (mode 0700) that exists while the record does; the backend owns all in it.
    pub dir: PathBuf,
}

/// What recovery removed: what dead owners had left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// One entry an object: `cgroup agentkernel/0123...`, `network interface ak...`.
    pub objects: Vec<String>,
}

/// A box without a record: it lives as long as this handle's process and is used by one customer. The backend makes sure
/// that it dies, with everything in it, when its owner is killed.
#[async_trait]
pub trait EphemeralBox: Send + Sync {
    /// The isolation it really got.
    fn isolation(&self) -> &Isolation;

    /// The way in.
    fn guest(&self) -> Arc<dyn Guest>;

    /// Waits until its agent serves, for who starts a box before anybody needs it. To be called before [`Self::guest`], if
    /// at all.
    async fn ready(&mut self) -> Result<(), BackendError>;

    /// When it ends by itself, for who keeps it before anybody uses it; `None` where that can't be seen from here. Must be
    /// called within a tokio runtime.
    fn end(&self) -> Option<EndSignal>;

    /// Gives it to another process of this user. The box itself again where that can't be: its guest was used, or it lives
    /// by something that only this process has.
    async fn hand_over(self: Box<Self>) -> Result<HandOver, Box<dyn EphemeralBox>>;

    /// Whether it was started before it was asked for.
    fn is_warm(&self) -> bool {
        false
    }

    /// Ends it and removes all of it. Dropping the handle ends it too, but removal may then be left to recovery.
    async fn destroy(self: Box<Self>) -> Result<(), BackendError>;

    /// Ends it, for who has taken it over and knows that its maker lives: what remains of it may be left to that process,
    /// which removes it at once.
    async fn leave(self: Box<Self>) -> Result<(), BackendError>;
}

/// A maker of boxes. Methods take `&self`; verbs are idempotent and safe to repeat after a kill -9 at any point: what
/// outlives the process is noted in the record's folder (or a lease) before it is made.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Its name.
    fn name(&self) -> &BackendName;

    /// What it can do on this machine. [`crate::refuse_unsupported`] holds a specification against it; the engine does
    /// so before anything is changed.
    fn capabilities(&self) -> &Capabilities;

    /// Whether it can be used here and now, and if not how that is mended. Must be quick (milliseconds) and change
    /// nothing.
    async fn probe(&self) -> Probe;

    /// Its OCI images; `None` where it has none.
    fn images(&self) -> Option<&dyn Images>;

    /// Who builds Dockerfiles for it; `None` where it can't.
    fn builder(&self) -> Option<&dyn ImageBuilder>;

    /// Who pauses and copies its sandboxes; `None` where it can't.
    fn snapshots(&self) -> Option<&dyn Snapshots>;

    /// Starts a box without a record.
    async fn launch(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError>;

    /// The same, and never one that was started before it was asked for.
    async fn launch_cold(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        self.launch(spec).await
    }

    /// Takes a box over that another process made with a backend of the same name and [`Self::variant`].
    async fn take_over(&self, handed: HandOver) -> Result<Box<dyn EphemeralBox>, BackendError>;

    /// What of this instance's settings, and of this process, makes its boxes differ from those of another instance that
    /// is asked for the same: a box is never taken over where this is not equal. For machines to compare.
    fn variant(&self) -> String;

    /// Makes what a persistent sandbox needs besides its processes.
    async fn create(&self, record: &BoxRecord) -> Result<(), BackendError>;

    /// Starts it; fine if it runs already.
    async fn start(&self, record: &BoxRecord) -> Result<Isolation, BackendError>;

    /// Stops it: SIGTERM to its commands, SIGKILL to all after `grace`. Files are kept. Fine if it is stopped already.
    async fn stop(&self, record: &BoxRecord, grace: Duration) -> Result<(), BackendError>;

    /// Removes all of it, running or not. Fine if it is gone already.
    async fn remove(&self, record: &BoxRecord) -> Result<(), BackendError>;

    /// Whether it runs, seen from the machine and not from the record; with the isolation it got.
    async fn running(&self, record: &BoxRecord) -> Result<Option<Isolation>, BackendError>;

    /// The way into a running one.
    async fn connect(&self, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError>;

    /// Removes what dead owners of ephemeral boxes left behind, and nothing that is alive or somebody else's. `records`
    /// are all persistent sandboxes of this backend. Must be quick where there is nothing to do.
    async fn reclaim(&self, records: &[BoxRecord]) -> Result<Reclaimed, BackendError>;
}
