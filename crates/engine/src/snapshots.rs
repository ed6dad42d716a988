//! Snapshots: a running sandbox kept as it is, and sandboxes made from what was kept.

use agentkernel_backend::{Backend, Lifetime, Snapshots};
use agentkernel_model::{
    Action, BackendName, ImageRef, Phase, PublishedPort, SandboxName, SandboxSpec, SnapshotName,
};
use agentkernel_store::{
    LockedRecord, NewSnapshot, RECORD_VERSION, SNAPSHOT_VERSION, SandboxRecord, SnapshotRecord, StoreError,
    allocated_bytes, random_id,
};
use serde::Serialize;

use crate::creation::renamed_inside;
use crate::engine::blocking;
use crate::pausing::snapshots_of;
use crate::{Engine, EngineError, SandboxView};

/// One snapshot, as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotView {
    /// Its name.
    pub name: SnapshotName,
    /// The sandbox it was taken of.
    pub source: SandboxName,
    /// That sandbox's id: its name may be another's by now.
    pub source_id: String,
    /// Who made that, and can restore it.
    pub backend: BackendName,
    /// What that started from.
    pub image: ImageRef,
    /// The ports that it publishes: no copy takes them over.
    pub ports: Vec<PublishedPort>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// What it takes on disk; its files are sparse.
    pub bytes: u64,
}

impl SnapshotView {
    fn of(record: SnapshotRecord) -> Self {
        Self {
            name: record.name,
            source: record.source,
            source_id: record.source_id,
            backend: record.spec.backend,
            image: record.spec.image,
            ports: record.spec.ports,
            created_at: record.created_at,
            bytes: record.bytes,
        }
    }
}

impl Engine {
    /// Keeps a running or paused sandbox as it is now: processes, memory, files. It goes on as before. Without a name the
    /// snapshot gets the sandbox's, with the first number behind it that is free.
    pub async fn take_snapshot(
        &self,
        name: &SandboxName,
        snapshot: Option<&SnapshotName>,
    ) -> Result<SnapshotView, EngineError> {
        let mut locked = self.lock(name).await?;
        let backend = self.backend(&locked.record().spec.backend)?;
        let snapshots = snapshots_of(&*backend)?;
        let next = self.before_standstill(&mut locked, &*backend, Action::Copy).await?;
        self.refuse_too_large(&locked).await?;
        let (snapshot, new) = self.reserve_snapshot(name, snapshot)?;
        if let Err(error) = self.copy_out(&mut locked, snapshots, next, &new.content()).await {
            give_up(new).await;
            return Err(error);
        }
        let record = SnapshotRecord {
            version: SNAPSHOT_VERSION,
            name: snapshot,
            source: name.clone(),
            source_id: locked.record().id.clone(),
            created_at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            bytes: 0,
            spec: locked.record().spec.clone(),
        };
        drop(locked);
        let max_bytes = self.inner.max_snapshot_bytes;
        Ok(SnapshotView::of(blocking(move || new.commit(record, max_bytes)).await??))
    }

    /// Before anything is written: memory and files of the sandbox would surely not fit.
    async fn refuse_too_large(&self, locked: &LockedRecord) -> Result<(), EngineError> {
        let Some(max_bytes) = self.inner.max_snapshot_bytes else { return Ok(()) };
        let memory_bytes = locked.record().spec.resources.memory.map_or(0, |memory| memory.bytes());
        let (snapshots, files) =
            (self.inner.store.snapshots(), self.inner.store.backend_dir(&locked.record().name));
        let sizes = move || Ok::<_, StoreError>((snapshots.total_bytes()?, allocated_bytes(&files)?));
        let (kept_bytes, file_bytes) = blocking(sizes).await??;
        let needed_bytes = kept_bytes.saturating_add(memory_bytes).saturating_add(file_bytes);
        match needed_bytes > max_bytes {
            true => Err(StoreError::SnapshotsFull { needed_bytes, max_bytes }.into()),
            false => Ok(()),
        }
    }

    fn reserve_snapshot(
        &self,
        source: &SandboxName,
        wanted: Option<&SnapshotName>,
    ) -> Result<(SnapshotName, NewSnapshot), EngineError> {
        let store = self.inner.store.snapshots();
        if let Some(name) = wanted {
            return Ok((name.clone(), store.reserve(name)?));
        }
        let mut number = 1_u32;
        loop {
            let name: SnapshotName = format!("{source}-{number}").parse()?;
            match store.reserve(&name) {
                Err(StoreError::SnapshotExists { .. }) => number += 1,
                reserved => return Ok((name, reserved?)),
            }
        }
    }

    /// Writes what runs into `folder`, and lets it go on where it did before: then `next` is recorded meanwhile.
    pub(crate) async fn copy_out(
        &self,
        locked: &mut LockedRecord,
        snapshots: &dyn Snapshots,
        next: Option<Phase>,
        folder: &std::path::Path,
    ) -> Result<(), EngineError> {
        let record = self.box_record(locked.record());
        let Some(next) = next else { return Ok(snapshots.take(&record, folder).await?) };
        locked.update(|record| record.phase = next)?;
        match snapshots.take(&record, folder).await {
            Ok(()) => Ok(locked.update(|record| record.phase = Phase::Running)?),
            Err(error) => {
                self.go_on_after(locked, snapshots).await;
                Err(error.into())
            }
        }
    }

    /// All snapshots by name. Records that can't be read are left out; see [`Self::unreadable_snapshots`].
    pub fn snapshots(&self) -> Result<Vec<SnapshotView>, EngineError> {
        let all = self.inner.store.snapshots().list()?;
        Ok(all.into_iter().filter_map(|(_, record)| record.ok().map(SnapshotView::of)).collect())
    }

    /// The snapshots whose records can't be read, each with why.
    pub fn unreadable_snapshots(&self) -> Result<Vec<(SnapshotName, EngineError)>, EngineError> {
        let all = self.inner.store.snapshots().list()?;
        Ok(all.into_iter().filter_map(|(name, record)| Some((name, record.err()?.into()))).collect())
    }

    /// One snapshot.
    pub fn snapshot(&self, name: &SnapshotName) -> Result<SnapshotView, EngineError> {
        Ok(SnapshotView::of(self.inner.store.snapshots().read(name)?))
    }

    /// Removes a snapshot. Sandboxes that were restored from it stay.
    pub async fn remove_snapshot(&self, name: &SnapshotName) -> Result<(), EngineError> {
        let (store, name) = (self.inner.store.snapshots(), name.clone());
        Ok(blocking(move || store.remove(&name)).await??)
    }

    /// Makes a new sandbox that goes on where the snapshot was taken, and runs. It is called as the snapshot is, unless it
    /// is named. Published ports stay the source's.
    pub async fn restore_snapshot(
        &self,
        name: &SnapshotName,
        sandbox: Option<&SandboxName>,
    ) -> Result<SandboxView, EngineError> {
        let opened = self.inner.store.snapshots().open(name)?;
        let sandbox = match sandbox {
            Some(sandbox) => sandbox.clone(),
            None => name.as_str().parse()?,
        };
        let record = opened.record();
        let spec = spec_of_copy(&record.spec, &record.source, &sandbox);
        let backend = self.refuse(&spec, Lifetime::Persistent)?;
        snapshots_of(&*backend)?;
        let locked = self.begin_copy(&sandbox, spec)?;
        let mut locked = self.restore_into(locked, &*backend, &opened.content()).await?;
        if let Err(error) = locked.update(|record| record.phase = Phase::Running) {
            self.unmake(locked, &*backend).await;
            return Err(error.into());
        }
        Ok(SandboxView::of(locked.record().clone()))
    }

    /// The record of a sandbox that will be restored: removed by recovery until it says otherwise.
    pub(crate) fn begin_copy(
        &self,
        name: &SandboxName,
        spec: SandboxSpec,
    ) -> Result<LockedRecord, EngineError> {
        let record = SandboxRecord {
            version: RECORD_VERSION,
            id: random_id().map_err(|source| EngineError::Random { source })?,
            name: name.clone(),
            created_at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            phase: Phase::Creating,
            spec,
            ephemeral: false,
            isolation: None,
            config_file: None,
            published: Vec::new(),
            forwarder: None,
            files: Vec::new(),
        };
        Ok(self.inner.store.create(name, record)?)
    }

    /// Starts it from `folder`. It runs then, and its record still says that it is being made. All or nothing.
    pub(crate) async fn restore_into(
        &self,
        mut locked: LockedRecord,
        backend: &dyn Backend,
        folder: &std::path::Path,
    ) -> Result<LockedRecord, EngineError> {
        let record = self.box_record(locked.record());
        let restored = async {
            let isolation = snapshots_of(backend)?.restore(&record, folder).await?;
            Ok::<_, EngineError>(locked.update(|record| record.isolation = Some(isolation))?)
        };
        match restored.await {
            Ok(()) => Ok(locked),
            Err(error) => {
                let error = self.image_gone(error, &locked, backend).await;
                self.unmake(locked, backend).await;
                Err(error)
            }
        }
    }
}

/// What a copy of a sandbox of `spec`, which is called `source`, is asked for as.
pub(crate) fn spec_of_copy(spec: &SandboxSpec, source: &SandboxName, name: &SandboxName) -> SandboxSpec {
    // Two can't listen on one port of the host.
    let spec = SandboxSpec { ports: Vec::new(), hostname: name.to_string(), ..spec.clone() };
    renamed_inside(spec, source.as_str(), name)
}

/// Removes half a snapshot; what can't be removed now is for recovery.
async fn give_up(new: NewSnapshot) {
    match blocking(move || new.discard()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "half a snapshot is left to the next command"),
        Err(error) => tracing::debug!(%error, "half a snapshot is left to the next command"),
    }
}
