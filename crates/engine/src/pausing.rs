//! Sandboxes whose time stands still: pause, resume, and what a dead process left standing.

use agentkernel_backend::{Backend, BackendError, Snapshots};
use agentkernel_model::{Action, Feature, Phase, SandboxName};
use agentkernel_store::LockedRecord;

use crate::lifecycle::wrong_phase;
use crate::{Engine, EngineError, SandboxView};

/// The way to stop a backend's sandboxes' time and to copy them, or the refusal that names it.
pub(crate) fn snapshots_of(backend: &dyn Backend) -> Result<&dyn Snapshots, EngineError> {
    let refuse = |why: &str| BackendError::Unsupported {
        backend: backend.name().to_string(),
        what: Feature::Snapshots.to_string(),
        fix: why.to_owned(),
    };
    if let Some(why) = backend.capabilities().why_missing(Feature::Snapshots) {
        return Err(refuse(why).into());
    }
    backend.snapshots().ok_or_else(|| refuse("it has none; use --backend firecracker").into())
}

impl Engine {
    /// Stops a running sandbox's time: its processes stay as they are and get no processor. Fine if it stands still.
    pub async fn pause(&self, name: &SandboxName) -> Result<SandboxView, EngineError> {
        let mut locked = self.lock(name).await?;
        let backend = self.backend(&locked.record().spec.backend)?;
        let snapshots = snapshots_of(&*backend)?;
        let next = self.before_standstill(&mut locked, &*backend, Action::Pause).await?;
        if let Some(next) = next {
            locked.update(|record| record.phase = next)?;
            if let Err(error) = snapshots.pause(&self.box_record(locked.record())).await {
                self.go_on_after(&mut locked, snapshots).await;
                return Err(error.into());
            }
            locked.update(|record| record.phase = Phase::Paused)?;
        }
        Ok(SandboxView::of(locked.record().clone()))
    }

    /// Lets a paused sandbox's time go on. Fine if it does.
    pub async fn resume(&self, name: &SandboxName) -> Result<SandboxView, EngineError> {
        let mut locked = self.lock(name).await?;
        let backend = self.backend(&locked.record().spec.backend)?;
        let snapshots = snapshots_of(&*backend)?;
        let next = self.before_standstill(&mut locked, &*backend, Action::Resume).await?;
        if let Some(next) = next {
            locked.update(|record| record.phase = next)?;
            if let Err(error) = self.go_on(&mut locked, snapshots).await {
                locked.update(|record| record.phase = Phase::Paused)?;
                return Err(error);
            }
            // Who carries connections may have given the sandbox up meanwhile.
            self.keep_ports_open(&mut locked).await?;
        }
        Ok(SandboxView::of(locked.record().clone()))
    }

    /// The phase to record before `action`, of a sandbox that is there to be paused, resumed or copied.
    pub(crate) async fn before_standstill(
        &self,
        locked: &mut LockedRecord,
        backend: &dyn Backend,
        action: Action,
    ) -> Result<Option<Phase>, EngineError> {
        self.settle_pausing(locked, backend).await?;
        let record = self.box_record(locked.record());
        let phase = match (locked.record().phase, backend.running(&record).await?) {
            // A recorded `running` without a box is a stopped one.
            (Phase::Running | Phase::Paused, None) => Phase::Stopped,
            (phase, _) => phase,
        };
        let next = phase.before(action);
        next.map_err(|source| match phase {
            Phase::Stopped => EngineError::NotRunning { name: record.name.to_string(), phase },
            _ => wrong_phase(&record.name, source),
        })
    }

    /// A sandbox that stands still for a verb whose process is dead: who holds its lock knows that it is.
    pub(crate) async fn settle_pausing(
        &self,
        locked: &mut LockedRecord,
        backend: &dyn Backend,
    ) -> Result<(), EngineError> {
        if locked.record().phase != Phase::Pausing {
            return Ok(());
        }
        match backend.running(&self.box_record(locked.record())).await? {
            Some(_) => self.go_on(locked, snapshots_of(backend)?).await,
            None => self.stop_locked(locked, backend, std::time::Duration::ZERO).await,
        }
    }

    /// Lets it go on and records that it does.
    pub(crate) async fn go_on(
        &self,
        locked: &mut LockedRecord,
        snapshots: &dyn Snapshots,
    ) -> Result<(), EngineError> {
        snapshots.resume(&self.box_record(locked.record())).await?;
        locked.update(|record| record.phase = Phase::Running)?;
        Ok(())
    }

    /// The same after a failure, which counts more than one of this. What still stands is for recovery.
    pub(crate) async fn go_on_after(&self, locked: &mut LockedRecord, snapshots: &dyn Snapshots) {
        if let Err(error) = self.go_on(locked, snapshots).await {
            let name = &locked.record().name;
            tracing::warn!(%name, %error, "a sandbox may stand still; the next command tries to let it go on");
        }
    }
}
