//! Sandboxes whose time stands still, and copies of running ones.

use std::path::Path;

use agentkernel_model::Isolation;
use async_trait::async_trait;

use crate::{BackendError, BoxRecord};

/// What only some backends can do: reached by [`crate::Backend::snapshots`]. As with every verb, each call may come from
/// another process than the last, and repeating one after a kill -9 is safe.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Stops the time of a running sandbox: its processes keep their memory and get no processor. Fine if it stands still
    /// already. A paused sandbox runs for [`crate::Backend::running`], can be removed, and can be stopped without grace; who
    /// wants its commands to end by themselves lets it go on first.
    async fn pause(&self, record: &BoxRecord) -> Result<(), BackendError>;

    /// Lets it go on, its clock set. Fine if it does already.
    async fn resume(&self, record: &BoxRecord) -> Result<(), BackendError>;

    /// Writes a running or paused sandbox as it is now (processes, memory, files) into `folder`: private, empty, and the
    /// backend's from then on. It goes on afterwards if it did before. Where this fails or is killed, `folder` is not
    /// whole, and the caller removes it; the sandbox may then stand still, which [`Self::resume`] mends.
    async fn take(&self, record: &BoxRecord, folder: &Path) -> Result<(), BackendError>;

    /// Makes and starts the sandbox of `record`, which was never created, from what [`Self::take`] wrote into `folder`:
    /// its processes go on where those of the source were, with an identity of its own (host name, machine id, addresses,
    /// randomness, clock). `record.spec` is the source's but for its name (also
    /// in a variable), host name and published ports. `folder` is only read: any number
    /// of sandboxes may come from it, and it may be removed while they run.
    ///
    /// Refused by name where this machine can't restore it (another VMM, processor or kernel), before anything is made.
    async fn restore(&self, record: &BoxRecord, folder: &Path) -> Result<Isolation, BackendError>;
}
