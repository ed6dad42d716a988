//! A sandbox as a user sees it: its record, held against the machine.

use std::path::PathBuf;

use agentkernel_model::{
    BackendName, ByteString, ImageId, ImageRef, Isolation, Phase, Profile, PublishedPort, SandboxName,
    SandboxSpec,
};
use agentkernel_store::SandboxRecord;
use serde::{Serialize, Serializer};

use crate::{Engine, EngineError};

/// One sandbox. Serialised without the values of its environment, which may be secrets.
#[derive(Debug, Clone, Serialize)]
pub struct SandboxView {
    /// Its name.
    pub name: SandboxName,
    /// Its id.
    pub id: String,
    /// As seen on the machine: a recorded `running` whose box has died is `stopped`. `status` to those who read it.
    #[serde(rename = "status")]
    pub phase: Phase,
    /// Who makes it.
    pub backend: BackendName,
    /// What it started from.
    pub image: ImageRef,
    /// The content that this was; `None` for image `host`.
    pub image_id: Option<ImageId>,
    /// Where its grants came from.
    pub profile: Profile,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Whether it is removed when the `run` that made it ends.
    pub ephemeral: bool,
    /// What it got, where it runs; else what its last start got.
    pub isolation: Option<Isolation>,
    /// Where its published ports listen; empty where it doesn't run.
    pub published: Vec<PublishedPort>,
    /// The configuration file it came from.
    pub config_file: Option<PathBuf>,
    /// Why the phase could not be seen on the machine and is the recorded one.
    pub problem: Option<String>,
    /// How it was asked for.
    #[serde(serialize_with = "without_secrets")]
    pub spec: SandboxSpec,
}

fn without_secrets<S: Serializer>(spec: &SandboxSpec, serializer: S) -> Result<S::Ok, S::Error> {
    let mut shown = spec.clone();
    for variable in &mut shown.env {
        variable.value = ByteString::from("<hidden>");
    }
    shown.serialize(serializer)
}

impl SandboxView {
    pub(crate) fn of(record: SandboxRecord) -> Self {
        Self {
            name: record.name,
            id: record.id,
            phase: record.phase,
            backend: record.spec.backend.clone(),
            image: record.spec.image.clone(),
            image_id: record.spec.image_id.clone(),
            profile: record.spec.profile,
            created_at: record.created_at,
            ephemeral: record.ephemeral,
            isolation: record.isolation,
            published: record.published,
            config_file: record.config_file,
            problem: None,
            spec: record.spec,
        }
    }
}

impl Engine {
    /// All sandboxes by name. Needs no lock. Records that can't be read are left out; see [`Self::unreadable`].
    pub async fn list(&self) -> Result<Vec<SandboxView>, EngineError> {
        let mut views = Vec::new();
        for (_, record) in self.inner.store.list()? {
            if let Ok(record) = record {
                views.push(self.look(record).await);
            }
        }
        Ok(views)
    }

    /// The sandboxes whose records can't be read, each with why.
    pub fn unreadable(&self) -> Result<Vec<(SandboxName, EngineError)>, EngineError> {
        let all = self.inner.store.list()?;
        Ok(all.into_iter().filter_map(|(name, record)| Some((name, record.err()?.into()))).collect())
    }

    /// One sandbox. Needs no lock.
    pub async fn info(&self, name: &SandboxName) -> Result<SandboxView, EngineError> {
        let record = self.inner.store.read(name)?;
        Ok(self.look(record).await)
    }

    /// Holds a record against the machine.
    pub(crate) async fn look(&self, record: SandboxRecord) -> SandboxView {
        let settled = matches!(record.phase, Phase::Running | Phase::Paused | Phase::Stopped);
        let seen = match self.backend(&record.spec.backend) {
            Ok(backend) => backend.running(&self.box_record(&record)).await.map_err(EngineError::from),
            Err(error) => Err(error),
        };
        let mut view = SandboxView::of(record);
        match seen {
            Ok(Some(isolation)) => {
                view.isolation = Some(isolation);
                if settled && view.phase != Phase::Paused {
                    view.phase = Phase::Running;
                }
            }
            Ok(None) => {
                view.published.clear();
                if settled {
                    view.phase = Phase::Stopped;
                }
            }
            Err(error) => view.problem = Some(error.to_string()),
        }
        view
    }
}
