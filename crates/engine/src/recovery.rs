//! Finishing or undoing what dead processes left half done.

use std::time::Duration;

use agentkernel_backend::BoxRecord;
use agentkernel_model::{BackendName, Phase, SandboxName};
use agentkernel_store::{LockedRecord, SandboxRecord};
use serde::Serialize;

use crate::forwarder::{end_forwarder, is_alive};
use crate::{Engine, EngineError};

/// What recovery did. Empty where there was nothing to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// Sandboxes that were removed: half made, half removed, or ephemeral without an owner.
    pub removed: Vec<SandboxName>,
    /// Sandboxes that were brought to `stopped`: half started, half stopped, or with a box that had died.
    pub stopped: Vec<SandboxName>,
    /// Sandboxes that stood still for a verb whose process has died, and go on.
    pub resumed: Vec<SandboxName>,
    /// Objects of dead boxes without a record: cgroups, mounts, interfaces, folders.
    pub objects: Vec<String>,
    /// What could not be recovered, each with why. It is tried again by the next command.
    pub notes: Vec<String>,
}

enum Remedy {
    None,
    Resume,
    Stop,
    Remove,
}

impl Engine {
    /// Recovers all sandboxes that no living process works on. Never touches a locked record; what fails for one
    /// sandbox is noted and doesn't stop the others. An error means that the state folder itself can't be read.
    pub async fn recover(&self) -> Result<Recovered, EngineError> {
        self.recover_where(|_| true).await
    }

    /// The same for one backend's sandboxes: a verb that uses one backend doesn't wait for the others.
    pub async fn recover_backend(&self, name: &BackendName) -> Result<Recovered, EngineError> {
        self.recover_where(|backend| backend == name).await
    }

    async fn recover_where(&self, wanted: impl Fn(&BackendName) -> bool) -> Result<Recovered, EngineError> {
        let mut recovered = Recovered::default();
        let mut alive: Vec<SandboxRecord> = Vec::new();
        let mut unread = false;
        for (name, record) in self.inner.store.list()? {
            match record {
                Ok(record) if !wanted(&record.spec.backend) => {}
                Ok(record) => {
                    if self.recover_one(&record, &mut recovered).await {
                        alive.push(record);
                    }
                }
                Err(error) => {
                    unread = true;
                    recovered.notes.push(format!("sandbox {:?}: {error}", name.as_str()));
                }
            }
        }
        // A record that can't be read may belong to a live box: nothing is reclaimed that could be its.
        if !unread {
            self.reclaim(&alive, &wanted, &mut recovered).await;
        }
        let swept = self.inner.store.sweep()?;
        recovered.objects.extend(swept.removed.into_iter().map(|name| format!("folder sandboxes/{name}")));
        recovered.notes.extend(swept.failed.into_iter().map(|error| error.to_string()));
        let swept = self.inner.store.snapshots().sweep()?;
        recovered.objects.extend(swept.removed.into_iter().map(|name| format!("folder snapshots/{name}")));
        recovered.notes.extend(swept.failed.into_iter().map(|error| error.to_string()));
        Ok(recovered)
    }

    /// Whether the sandbox still exists afterwards.
    async fn recover_one(&self, seen: &SandboxRecord, recovered: &mut Recovered) -> bool {
        let name = &seen.name;
        match self.try_recover(seen).await {
            Ok(Remedy::None) => true,
            Ok(Remedy::Resume) => {
                recovered.resumed.push(name.clone());
                true
            }
            Ok(Remedy::Stop) => {
                recovered.stopped.push(name.clone());
                true
            }
            Ok(Remedy::Remove) => {
                recovered.removed.push(name.clone());
                false
            }
            Err(error) => {
                recovered.notes.push(format!("sandbox {:?}: {error}", name.as_str()));
                true
            }
        }
    }

    async fn try_recover(&self, seen: &SandboxRecord) -> Result<Remedy, EngineError> {
        // Without the lock first: where nothing is wrong nobody is kept waiting.
        if matches!(self.remedy(seen).await?, Remedy::None) {
            return Ok(Remedy::None);
        }
        let mut locked = match self.inner.store.try_lock(&seen.name) {
            Ok(Some(locked)) => locked,
            Ok(None) | Err(agentkernel_store::StoreError::NotFound { .. }) => return Ok(Remedy::None),
            Err(error) => return Err(error.into()),
        };
        let remedy = self.remedy(locked.record()).await?;
        self.apply(&remedy, &mut locked).await?;
        if matches!(remedy, Remedy::Remove) {
            locked.delete()?;
        }
        Ok(remedy)
    }

    async fn remedy(&self, record: &SandboxRecord) -> Result<Remedy, EngineError> {
        let orphaned = record.ephemeral && !self.inner.store.has_owner(&record.name)?;
        Ok(match record.phase {
            Phase::Creating | Phase::Removing => Remedy::Remove,
            _ if orphaned => Remedy::Remove,
            Phase::Starting | Phase::Stopping => Remedy::Stop,
            Phase::Stopped if record.forwarder.as_ref().is_some_and(is_alive) => Remedy::Stop,
            Phase::Stopped => Remedy::None,
            Phase::Running | Phase::Pausing | Phase::Paused => {
                let backend = self.backend(&record.spec.backend)?;
                match backend.running(&self.box_record(record)).await? {
                    Some(_) if record.phase == Phase::Pausing => Remedy::Resume,
                    Some(_) => Remedy::None,
                    None => Remedy::Stop,
                }
            }
        })
    }

    async fn apply(&self, remedy: &Remedy, locked: &mut LockedRecord) -> Result<(), EngineError> {
        if matches!(remedy, Remedy::None) {
            return Ok(());
        }
        if !matches!(remedy, Remedy::Resume) {
            // Ports are freed even where the backend isn't part of this build.
            end_forwarder(locked.record())?;
        }
        let backend = self.backend(&locked.record().spec.backend)?;
        match remedy {
            Remedy::None => Ok(()),
            Remedy::Resume => self.settle_pausing(locked, &*backend).await,
            Remedy::Stop => self.stop_locked(locked, &*backend, Duration::ZERO).await,
            Remedy::Remove => self.remove_locked(locked, &*backend).await,
        }
    }

    async fn reclaim(
        &self,
        alive: &[SandboxRecord],
        wanted: &impl Fn(&BackendName) -> bool,
        recovered: &mut Recovered,
    ) {
        for (backend, _) in self.inner.backends.iter().filter(|(backend, _)| wanted(backend.name())) {
            let records: Vec<BoxRecord> = alive
                .iter()
                .filter(|record| record.spec.backend == *backend.name())
                .map(|record| self.box_record(record))
                .collect();
            match backend.reclaim(&records).await {
                Ok(reclaimed) => recovered.objects.extend(reclaimed.objects),
                Err(error) => recovered.notes.push(format!("backend {}: {error}", backend.name())),
            }
        }
    }
}
