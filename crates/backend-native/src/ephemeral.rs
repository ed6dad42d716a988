//! Boxes without a record: noted by a lease, ended with their owner's stream.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use agentkernel_backend::{BackendError, EndSignal, Entrance, EphemeralBox, Guest, HandOver};
use agentkernel_model::Isolation;
use agentkernel_store::Lease;
use async_trait::async_trait;

use crate::boot::Booted;
use crate::hand_over::pack;
use crate::process::{Limits, Process};
use crate::remains::Remains;

/// A box of this process.
pub(crate) struct NativeBox {
    isolation: Isolation,
    kinds: Vec<&'static str>,
    /// `None` once it is ended or given away.
    held: Option<Held>,
    /// `None` in a box that another process has made.
    remains: Option<Remains>,
}

/// What a box is to its owner.
pub(crate) struct Held {
    pub(crate) entrance: Entrance,
    pub(crate) process: Process,
    pub(crate) limits: Limits,
    pub(crate) lease: Lease,
    /// Keeps the image that it runs on.
    pub(crate) image: Option<OwnedFd>,
}

impl NativeBox {
    pub(crate) fn new(
        entrance: Entrance,
        booted: Booted,
        lease: Lease,
        image: Option<agentkernel_image::Lease>,
        remains: Remains,
    ) -> Self {
        let Booted { child, cgroup, isolation, kinds } = booted;
        let held = Held {
            entrance,
            process: Process::Own(child),
            limits: Limits::Held(cgroup),
            lease,
            image: image.map(agentkernel_image::Lease::into_fd),
        };
        Self { isolation, kinds, held: Some(held), remains: Some(remains) }
    }

    /// One that another process has made.
    pub(crate) fn given(isolation: Isolation, held: Held) -> Self {
        Self { isolation, kinds: Vec::new(), held: Some(held), remains: None }
    }

    /// The kinds of the steps that made it, by index, where it was traced.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.kinds.clone()
    }
}

impl Held {
    /// Ends all of it and waits until that is so. Its lease stays.
    fn end(&mut self) -> Result<(), BackendError> {
        let step = |source| BackendError::runtime("end a box", source);
        self.process.kill().map_err(step)?;
        self.process.wait().map_err(step)?;
        self.limits.remove().map_err(|source| BackendError::runtime("remove the limits of a box", source))
    }
}

fn gone() -> BackendError {
    BackendError::BoxEnded { why: "it was ended or given away".to_owned() }
}

#[async_trait]
impl EphemeralBox for NativeBox {
    fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    fn guest(&self) -> Arc<dyn Guest> {
        match &self.held {
            Some(held) => held.entrance.guest(),
            // Only what takes the box by value empties it.
            None => agentkernel_backend::AgentGuest::connect(tokio::io::empty()),
        }
    }

    async fn ready(&mut self) -> Result<(), BackendError> {
        self.held.as_mut().ok_or_else(gone)?.entrance.ready().await
    }

    fn end(&self) -> Option<EndSignal> {
        self.held.as_ref()?.entrance.end()
    }

    async fn hand_over(mut self: Box<Self>) -> Result<HandOver, Box<dyn EphemeralBox>> {
        let Some(remains) = self.remains.clone() else { return Err(self) };
        let Some(held) = self.held.take() else { return Err(self) };
        match pack(held, &self.isolation, &remains) {
            Ok(handed) => Ok(handed),
            Err(held) => {
                self.held = Some(*held);
                Err(self)
            }
        }
    }

    async fn destroy(mut self: Box<Self>) -> Result<(), BackendError> {
        let Some(mut held) = self.held.take() else { return Ok(()) };
        held.end()?;
        held.lease.release().map_err(|source| BackendError::runtime("release a box's lease", source))
    }

    /// The end of its processes and the removal of its limits take a few milliseconds, which nobody has to wait for.
    async fn leave(mut self: Box<Self>) -> Result<(), BackendError> {
        match &self.held {
            Some(Held { process: process @ Process::Given(_), .. }) => {
                process.kill().map_err(|source| BackendError::runtime("end a box", source))?;
                // Its maker finds the lease free once it has ended.
                self.held = None;
                Ok(())
            }
            _ => self.destroy().await,
        }
    }
}

impl Drop for NativeBox {
    /// Processes end now; what else there is, recovery finds by the lease, which is free from here on.
    fn drop(&mut self) {
        if let Some(mut held) = self.held.take()
            && let Err(error) = held.end()
        {
            tracing::warn!(%error, "a box that was dropped could not be ended; recovery will");
        }
    }
}
