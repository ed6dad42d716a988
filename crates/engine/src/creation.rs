//! Making sandboxes that have a record: all of it or nothing.

use std::path::PathBuf;

use agentkernel_backend::{Backend, Lifetime};
use agentkernel_config::FileEntry;
use agentkernel_model::{Phase, SandboxName, SandboxSpec};
use agentkernel_store::{LockedRecord, RECORD_VERSION, SandboxRecord, random_id};

use crate::files::{FileBytes, SourceFile, all_sources};
use crate::plan::{SANDBOX_VARIABLE, UNNAMED_HOST, UNNAMED_SANDBOX};
use crate::{Engine, EngineError, SandboxView};

/// A sandbox to be made with a record.
pub(crate) struct NewSandbox {
    pub(crate) name: SandboxName,
    pub(crate) spec: SandboxSpec,
    pub(crate) sources: Vec<SourceFile>,
    pub(crate) ephemeral: bool,
    pub(crate) config_file: Option<PathBuf>,
}

impl Engine {
    /// Makes a sandbox and doesn't start it. `files` are read now and put into the box by its first start.
    pub async fn create(
        &self,
        name: &SandboxName,
        spec: SandboxSpec,
        files: &[FileEntry],
    ) -> Result<SandboxView, EngineError> {
        self.create_from(name, spec, files, None).await
    }

    /// The same, remembering the configuration file it came from.
    pub async fn create_from(
        &self,
        name: &SandboxName,
        spec: SandboxSpec,
        files: &[FileEntry],
        config_file: Option<PathBuf>,
    ) -> Result<SandboxView, EngineError> {
        self.create_with(name, spec, files, Vec::new(), config_file).await
    }

    /// The same with further files whose content the caller has.
    pub async fn create_with(
        &self,
        name: &SandboxName,
        spec: SandboxSpec,
        files: &[FileEntry],
        contents: Vec<FileBytes>,
        config_file: Option<PathBuf>,
    ) -> Result<SandboxView, EngineError> {
        self.refuse(&spec, Lifetime::Persistent)?;
        let new = NewSandbox {
            name: name.clone(),
            spec,
            sources: all_sources(files, contents)?,
            ephemeral: false,
            config_file,
        };
        let locked = self.make(new).await?;
        Ok(SandboxView::of(locked.record().clone()))
    }

    /// Record, backend's part, `Stopped`; all or nothing.
    pub(crate) async fn make(&self, new: NewSandbox) -> Result<LockedRecord, EngineError> {
        let backend = self.backend(&new.spec.backend)?;
        let spec = named_inside(new.spec, &new.name);
        let record = SandboxRecord {
            version: RECORD_VERSION,
            id: random_id().map_err(|source| EngineError::Random { source })?,
            name: new.name.clone(),
            created_at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            phase: Phase::Creating,
            spec,
            ephemeral: new.ephemeral,
            isolation: None,
            config_file: new.config_file,
            published: Vec::new(),
            forwarder: None,
            files: new.sources.iter().map(SourceFile::staged).collect(),
        };
        let mut locked = self.inner.store.create(&new.name, record)?;
        match self.fill(&mut locked, &*backend, new.sources).await {
            Ok(()) => Ok(locked),
            Err(error) => {
                self.unmake(locked, &*backend).await;
                Err(error)
            }
        }
    }

    async fn fill(
        &self,
        locked: &mut LockedRecord,
        backend: &dyn Backend,
        sources: Vec<SourceFile>,
    ) -> Result<(), EngineError> {
        for (n, mut source) in sources.into_iter().enumerate() {
            locked.stage(n, &mut source.file)?;
        }
        backend.create(&self.box_record(locked.record())).await?;
        locked.update(|record| record.phase = Phase::Stopped)?;
        Ok(())
    }

    /// Undoes a sandbox whose making failed. What can't be undone now stays recorded for recovery.
    pub(crate) async fn unmake(&self, mut locked: LockedRecord, backend: &dyn Backend) {
        let name = locked.record().name.clone();
        if let Err(error) = self.remove_locked(&mut locked, backend).await {
            tracing::warn!(%name, %error, "could not unmake a sandbox; the next command tries again");
            return;
        }
        if let Err(error) = locked.delete() {
            tracing::warn!(%name, %error, "could not delete a sandbox's folder; the next command tries again");
        }
    }
}

/// A sandbox that was planned without a name gets to know the one it is made under.
pub(crate) fn named_inside(mut spec: SandboxSpec, name: &SandboxName) -> SandboxSpec {
    if spec.hostname == UNNAMED_HOST {
        spec.hostname = name.to_string();
    }
    renamed_inside(spec, UNNAMED_SANDBOX, name)
}

/// The variable that tells commands their sandbox's name says `name` where it said `from`.
pub(crate) fn renamed_inside(mut spec: SandboxSpec, from: &str, name: &SandboxName) -> SandboxSpec {
    for variable in &mut spec.env {
        let before = variable.value.as_bytes() == from.as_bytes();
        if variable.name.as_bytes() == SANDBOX_VARIABLE.as_bytes() && before {
            variable.value = name.as_str().into();
        }
    }
    spec
}
