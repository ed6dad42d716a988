//! A box without a record on its way from one process of a user to another.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use agentkernel_model::BackendName;

/// A box in transit between two processes of one user. Whoever holds the descriptors owns the box: the box ends when the
/// last of them is closed, as it would with its owner, and what is left of it is then free for recovery.
#[derive(Debug)]
pub struct HandOver {
    /// Who made it, and who has to take it over.
    pub backend: BackendName,
    /// What the maker knows of it, for nobody else to read.
    pub state: serde_json::Value,
    /// What it lives by, in an order that the backend knows: the agent's stream, the lease with its lock, ...
    pub descriptors: Vec<OwnedFd>,
}

/// Completes when a box has ended by itself. Waits on the kernel's own notice and holds nothing of the box.
pub type EndSignal = Pin<Box<dyn Future<Output = ()> + Send>>;
