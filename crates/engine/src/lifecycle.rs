//! start, stop and remove of sandboxes that have a record.
//!
//! Each verb holds the record's lock from its first look to its last write and records the phase it goes into before it
//! changes anything, so that whoever finds the record without a living holder knows what to repeat or undo.

use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{Backend, BackendError, Lifetime, refuse_unsupported};
use agentkernel_model::{Action, Isolation, Phase, SandboxName, SandboxSpec};
use agentkernel_store::LockedRecord;

use crate::files::upload_staged;
use crate::forwarder::{HeldForwarder, end_forwarder, is_alive};
use crate::listen::{Listening, bind};
use crate::{Engine, EngineError, SandboxView};

impl Engine {
    /// Refuses, before anything is changed, what can't be honoured.
    pub(crate) fn refuse(
        &self,
        spec: &SandboxSpec,
        lifetime: Lifetime,
    ) -> Result<Arc<dyn Backend>, EngineError> {
        let backend = self.backend(&spec.backend)?;
        refuse_unsupported(backend.name(), backend.capabilities(), spec, lifetime)?;
        crate::exec::overlay(&spec.env, &[])?;
        if lifetime == Lifetime::Persistent && !spec.ports.is_empty() && self.inner.forwarders.is_none() {
            return Err(BackendError::Unsupported {
                backend: backend.name().to_string(),
                what: "published ports of a sandbox that outlives its maker".to_owned(),
                fix: "this program has no process to keep them open; leave the ports out".to_owned(),
            }
            .into());
        }
        Ok(backend)
    }

    /// Starts a sandbox; fine if it runs.
    pub async fn start(&self, name: &SandboxName) -> Result<SandboxView, EngineError> {
        let mut locked = self.lock(name).await?;
        self.start_locked(&mut locked).await?;
        Ok(SandboxView::of(locked.record().clone()))
    }

    pub(crate) async fn start_locked(&self, locked: &mut LockedRecord) -> Result<Isolation, EngineError> {
        let backend = self.refuse(&locked.record().spec, Lifetime::Persistent)?;
        self.settle_pausing(locked, &*backend).await?;
        let record = self.box_record(locked.record());
        let phase = match (locked.record().phase, backend.running(&record).await?) {
            (Phase::Running, Some(isolation)) => {
                self.keep_ports_open(locked).await?;
                return Ok(isolation);
            }
            // A recorded `running` without a box is a stopped one.
            (Phase::Running | Phase::Paused, None) => Phase::Stopped,
            (phase, _) => phase,
        };
        phase.before(Action::Start).map_err(|source| wrong_phase(&record.name, source))?;
        let dirty = locked.record().phase != Phase::Stopped;
        end_forwarder(locked.record())?;
        let listening = bind(&locked.record().spec.ports)?;
        locked.update(|record| {
            record.phase = Phase::Starting;
            record.published.clear();
            record.forwarder = None;
        })?;
        match self.bring_up(locked, &*backend, listening, dirty).await {
            Ok(isolation) => Ok(isolation),
            Err(error) => {
                self.bring_down(locked, &*backend).await;
                Err(self.image_gone(error, locked, &*backend).await)
            }
        }
    }

    async fn bring_up(
        &self,
        locked: &mut LockedRecord,
        backend: &dyn Backend,
        listening: Vec<Listening>,
        dirty: bool,
    ) -> Result<Isolation, EngineError> {
        let record = self.box_record(locked.record());
        if dirty {
            backend.stop(&record, Duration::ZERO).await?;
        }
        let isolation = backend.start(&record).await?;
        if !locked.record().files.is_empty() {
            let guest = backend.connect(&record).await?;
            upload_staged(locked, &*guest).await?;
        }
        let forwarder = self.hold_forwarder(&record.name, &listening)?;
        locked.update(|record| {
            record.phase = Phase::Running;
            record.isolation = Some(isolation.clone());
            record.published = listening.iter().map(|one| one.port).collect();
            record.forwarder = forwarder.as_ref().map(|held| held.process.clone());
            record.files.clear();
        })?;
        if let Err(error) = locked.unstage() {
            tracing::debug!(%error, "files that were put into the box are still staged");
        }
        release(forwarder, &record.name, listening)?;
        Ok(isolation)
    }

    /// Starts the process that will forward; it waits until it is released.
    fn hold_forwarder(
        &self,
        name: &SandboxName,
        listening: &[Listening],
    ) -> Result<Option<HeldForwarder>, EngineError> {
        match (&self.inner.forwarders, listening.is_empty()) {
            (Some(spawner), false) => spawner
                .spawn(name)
                .map(Some)
                .map_err(|source| EngineError::Forwarder { action: "start", name: name.to_string(), source }),
            _ => Ok(None),
        }
    }

    /// A running sandbox whose forwarder has died gets another.
    pub(crate) async fn keep_ports_open(&self, locked: &mut LockedRecord) -> Result<(), EngineError> {
        let record = locked.record();
        if record.spec.ports.is_empty() || record.forwarder.as_ref().is_some_and(is_alive) {
            return Ok(());
        }
        let name = record.name.clone();
        let listening = bind(&record.spec.ports)?;
        let forwarder = self.hold_forwarder(&name, &listening)?;
        locked.update(|record| {
            record.published = listening.iter().map(|one| one.port).collect();
            record.forwarder = forwarder.as_ref().map(|held| held.process.clone());
        })?;
        release(forwarder, &name, listening)
    }

    /// Takes a failed start back. What can't be taken back now stays recorded for recovery.
    async fn bring_down(&self, locked: &mut LockedRecord, backend: &dyn Backend) {
        if let Err(error) = self.stop_locked(locked, backend, Duration::ZERO).await {
            let name = &locked.record().name;
            tracing::warn!(%name, %error, "could not take a failed start back; the next command tries again");
        }
    }

    /// Stops a sandbox: its commands get SIGTERM, and SIGKILL after `grace`. Files are kept. Fine if it is stopped.
    pub async fn stop(&self, name: &SandboxName, grace: Duration) -> Result<(), EngineError> {
        let mut locked = self.lock(name).await?;
        let backend = self.backend(&locked.record().spec.backend)?;
        let next = locked.record().phase.before(Action::Stop).map_err(|source| wrong_phase(name, source))?;
        if next.is_none() && backend.running(&self.box_record(locked.record())).await?.is_none() {
            return Ok(());
        }
        self.stop_locked(&mut locked, &*backend, grace).await
    }

    pub(crate) async fn stop_locked(
        &self,
        locked: &mut LockedRecord,
        backend: &dyn Backend,
        grace: Duration,
    ) -> Result<(), EngineError> {
        let stands = matches!(locked.record().phase, Phase::Pausing | Phase::Paused);
        locked.update(|record| record.phase = Phase::Stopping)?;
        end_forwarder(locked.record())?;
        let grace = match stands && !grace.is_zero() {
            true => self.grace_of_paused(locked, backend, grace).await,
            false => grace,
        };
        backend.stop(&self.box_record(locked.record()), grace).await?;
        locked.update(|record| {
            record.phase = Phase::Stopped;
            record.published.clear();
            record.forwarder = None;
        })?;
        Ok(())
    }

    /// Lets a sandbox that stands still go on, so that its commands can end by themselves; what can't gets no grace.
    async fn grace_of_paused(
        &self,
        locked: &LockedRecord,
        backend: &dyn Backend,
        grace: Duration,
    ) -> Duration {
        let Some(snapshots) = backend.snapshots() else { return Duration::ZERO };
        match snapshots.resume(&self.box_record(locked.record())).await {
            Ok(()) => grace,
            Err(error) => {
                tracing::debug!(%error, "a paused sandbox can't go on and is stopped as it is");
                Duration::ZERO
            }
        }
    }

    /// Removes a sandbox and all in it. A running one only with `force`, which ends the commands in it.
    pub async fn remove(&self, name: &SandboxName, force: bool) -> Result<(), EngineError> {
        let mut locked = self.lock(name).await?;
        let backend = self.backend(&locked.record().spec.backend)?;
        if !force && backend.running(&self.box_record(locked.record())).await?.is_some() {
            return Err(EngineError::StillRunning { name: name.to_string() });
        }
        self.remove_locked(&mut locked, &*backend).await?;
        locked.delete()?;
        Ok(())
    }

    /// All of a removal but the record's own folder.
    pub(crate) async fn remove_locked(
        &self,
        locked: &mut LockedRecord,
        backend: &dyn Backend,
    ) -> Result<(), EngineError> {
        locked.update(|record| record.phase = Phase::Removing)?;
        end_forwarder(locked.record())?;
        backend.remove(&self.box_record(locked.record())).await?;
        Ok(())
    }
}

fn release(
    forwarder: Option<HeldForwarder>,
    name: &SandboxName,
    listening: Vec<Listening>,
) -> Result<(), EngineError> {
    let Some(held) = forwarder else { return Ok(()) };
    (held.release)(listening.into_iter().map(Listening::into_pair).collect()).map_err(|source| {
        EngineError::Forwarder { action: "hand the listeners to", name: name.to_string(), source }
    })
}

pub(crate) fn wrong_phase(name: &SandboxName, source: agentkernel_model::PhaseError) -> EngineError {
    BackendError::WrongPhase { name: name.to_string(), source }.into()
}
