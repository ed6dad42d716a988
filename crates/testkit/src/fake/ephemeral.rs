//! A box without a record.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agentkernel_backend::{BackendError, EndSignal, EphemeralBox, Guest, HandOver};
use agentkernel_model::{BackendName, Isolation};
use async_trait::async_trait;

use super::fault::Step;
use super::guest::FakeGuest;
use super::machine::{Call, Machine, Sandbox};
use super::violation::Violation;

pub(super) struct FakeBox {
    pub(super) machine: Arc<Machine>,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) isolation: Isolation,
    pub(super) owner: u64,
    pub(super) destroyed: bool,
    /// Whether its guest was asked for.
    pub(super) spoken: AtomicBool,
    /// Where it came from another process: that it still lives by what it was given.
    pub(super) taken_over: bool,
}

/// What a box in transit lives by: a pipe that ends with the last holder of its descriptor.
pub(super) struct Transit(std::io::PipeReader);

impl Transit {
    /// Whether nobody holds it any more.
    pub(super) fn is_lost(&self) -> bool {
        matches!((&self.0).read(&mut [0]), Ok(0))
    }
}

#[async_trait]
impl EphemeralBox for FakeBox {
    fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    fn guest(&self) -> Arc<dyn Guest> {
        self.spoken.store(true, Ordering::Relaxed);
        Arc::new(FakeGuest { sandbox: Arc::clone(&self.sandbox) })
    }

    async fn ready(&mut self) -> Result<(), BackendError> {
        let end = self.machine.faults.before(Step::Ready).await?;
        if self.sandbox.has_ended() {
            return Err(BackendError::BoxEnded { why: "it ended before it was ready".to_owned() });
        }
        end.done(())
    }

    fn end(&self) -> Option<EndSignal> {
        let sandbox = Arc::clone(&self.sandbox);
        Some(Box::pin(async move { sandbox.gone().await }))
    }

    async fn hand_over(mut self: Box<Self>) -> Result<HandOver, Box<dyn EphemeralBox>> {
        if self.spoken.load(Ordering::Relaxed) || self.taken_over {
            return Err(self);
        }
        let made = std::io::pipe().and_then(|(reader, writer)| {
            rustix::io::ioctl_fionbio(&reader, true)?;
            Ok((reader, writer))
        });
        let Ok((reader, writer)) = made else { return Err(self) };
        self.destroyed = true;
        let id = self.sandbox.id.clone();
        self.machine.with(|contents| {
            contents.calls.push(Call { verb: "hand over", sandbox: id.clone() });
            if let Some(entry) = contents.ephemeral.get_mut(&id) {
                entry.transit = Some(Transit(reader));
            }
        });
        let backend: BackendName = self.sandbox.backend.clone();
        Ok(HandOver { backend, state: serde_json::json!({ "id": id }), descriptors: vec![writer.into()] })
    }

    async fn destroy(mut self: Box<Self>) -> Result<(), BackendError> {
        let id = self.sandbox.id.clone();
        self.machine.with(|contents| contents.calls.push(Call { verb: "destroy", sandbox: id.clone() }));
        // A failed destroy is the same to the machine as a lost handle: recovery has to finish it.
        self.destroyed = true;
        let end = match self.machine.faults.before(Step::Destroy).await {
            Ok(end) => end,
            Err(error) => {
                self.orphan();
                return Err(error);
            }
        };
        self.sandbox.end();
        self.machine.with(|contents| contents.ephemeral.remove(&id));
        end.done(())
    }

    async fn leave(self: Box<Self>) -> Result<(), BackendError> {
        self.destroy().await
    }
}

impl FakeBox {
    fn orphan(&self) {
        self.sandbox.end();
        self.machine.with(|contents| {
            if let Some(entry) = contents.ephemeral.get_mut(&self.sandbox.id) {
                entry.orphaned = true;
            }
        });
    }
}

impl Drop for FakeBox {
    fn drop(&mut self) {
        if !self.destroyed {
            // What a killed process didn't do is not its fault.
            if !self.machine.with(|contents| contents.dead_processes.contains(&self.owner)) {
                self.machine.violations.note(Violation::DroppedWithoutDestroy);
            }
            self.orphan();
        }
    }
}
