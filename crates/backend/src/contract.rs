//! What a backend is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_model::{BackendName, Capabilities, Isolation, SandboxName, SandboxSpec};
use async_trait::async_trait;

use crate::{BackendError, Guest, ImageBuilder, Images};

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

    /// Ends it and removes all of it. Dropping the handle ends it too, but removal may then be left to recovery.
    async fn destroy(self: Box<Self>) -> Result<(), BackendError>;
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

    /// Starts a box without a record.
    async fn launch(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError>;

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
