//! A box without a record.

use std::sync::Arc;

use agentkernel_backend::{BackendError, EphemeralBox, Guest};
use agentkernel_model::Isolation;
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
}

#[async_trait]
impl EphemeralBox for FakeBox {
    fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    fn guest(&self) -> Arc<dyn Guest> {
        Arc::new(FakeGuest { sandbox: Arc::clone(&self.sandbox) })
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
