//! The verbs of a backend, each in a few steps of the parts beside this.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agentkernel_backend::{
    Backend, BackendError, BoxRecord, EphemeralBox, Guest, HandOver, ImageBuilder, Images, Lifetime, Probe,
    Reclaimed, Snapshots, refuse_unsupported,
};
use agentkernel_image::RegistrySettings;
use agentkernel_model::{BackendName, Capabilities, Feature, Isolation, SandboxSpec};
use async_trait::async_trait;
use tokio::sync::{Mutex, OnceCell};

use crate::builder::EngineBuilder;
use crate::connection::{Connected, NotReady, connect, connect_to, same};
use crate::images::EngineImages;
use crate::note::Note;
use crate::owner::Owner;
use crate::program::Way;
use crate::{EngineEnvironment, EngineKind, ephemeral, mounts, persistent};

/// What the user says of an engine.
#[derive(Debug, Clone, Default)]
pub struct EngineSettings {
    /// The OCI runtime of boxes (`runsc`); the engine's own default where it is `None`.
    pub runtime: Option<String>,
    /// Whose credentials are shown to registries.
    pub registries: RegistrySettings,
}

/// Docker or Podman.
pub struct DockerBackend {
    pub(crate) parts: Arc<Parts>,
    capabilities: Capabilities,
    images: EngineImages,
    builder: EngineBuilder,
}

/// What all parts of a backend share.
pub(crate) struct Parts {
    pub(crate) kind: EngineKind,
    pub(crate) name: BackendName,
    pub(crate) owner: Owner,
    pub(crate) settings: EngineSettings,
    state_dir: PathBuf,
    environment: EngineEnvironment,
    engine: OnceCell<Arc<Connected>>,
    /// Engines that boxes were made on, and that nobody names any more.
    noted: Mutex<Vec<Arc<Connected>>>,
    /// What the engine can do, once it is known.
    known: OnceLock<Capabilities>,
    agent: OnceLock<PathBuf>,
}

impl DockerBackend {
    /// Looks at nothing and makes nothing. `state_dir` is the private folder of this user's agentkernel.
    pub fn open(
        kind: EngineKind,
        state_dir: &Path,
        environment: EngineEnvironment,
        settings: EngineSettings,
    ) -> Self {
        let parts = Arc::new(Parts {
            kind,
            name: kind.backend_name(),
            owner: Owner::new(environment.uid, state_dir),
            settings,
            state_dir: state_dir.to_owned(),
            environment,
            engine: OnceCell::new(),
            noted: Mutex::new(Vec::new()),
            known: OnceLock::new(),
            agent: OnceLock::new(),
        });
        Self {
            capabilities: capabilities(kind, None),
            images: EngineImages::new(Arc::clone(&parts)),
            builder: EngineBuilder::new(Arc::clone(&parts)),
            parts,
        }
    }
}

/// What no engine does, and what this one can't on its machine, once it is known.
fn capabilities(kind: EngineKind, engine: Option<&Connected>) -> Capabilities {
    let title = kind.title();
    let disk = format!(
        "{title} can't limit what a container writes on most machines; use --backend native for that"
    );
    let limits = engine.map(|engine| engine.facts.missing_limits.clone()).unwrap_or_default();
    let unkept = format!(
        "this {title} can't: its machine has control groups v1, or gives it none; use control groups v2, {title} as root, or \
         --backend native"
    );
    let always = [
        (
            Feature::HostImage,
            format!("{title} starts from OCI images: name one with --image, or use --backend native"),
        ),
        (Feature::DiskLimit, disk.clone()),
        (Feature::PersistentDiskLimit, disk),
        (
            Feature::Snapshots,
            format!(
                "{title}'s containers share the host's kernel and can't be copied while they run; use --backend firecracker"
            ),
        ),
    ];
    Capabilities::all_but(always.into_iter().chain(limits.into_iter().map(|limit| (limit, unkept.clone()))))
}

impl Parts {
    /// This backend's own folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.state_dir.join(self.kind.name())
    }

    /// The notes of one-shot boxes.
    pub(crate) fn leases(&self) -> PathBuf {
        self.folder().join("leases")
    }

    /// The folders of one-shot boxes.
    pub(crate) fn boxes(&self) -> PathBuf {
        self.folder().join("boxes")
    }

    async fn look(&self) -> Result<&Arc<Connected>, NotReady> {
        let folder = self.folder();
        let connecting = || async {
            let mut engine = connect(self.kind, &self.environment, &folder).await?;
            engine.runtime = self.settings.runtime.clone();
            Ok(Arc::new(engine))
        };
        let engine = self.engine.get_or_try_init(connecting).await?;
        self.known.get_or_init(|| capabilities(self.kind, Some(engine)));
        match &self.settings.runtime {
            Some(runtime) if !engine.facts.runtimes.contains(runtime) => Err(NotReady {
                why: format!(
                    "this {} has no runtime {runtime:?}: it has {}",
                    self.kind.title(),
                    engine.facts.runtimes.join(", ")
                ),
                fix: format!("add it to the engine's settings, or change runtime in [{}]", self.kind.name()),
            }),
            _ => Ok(engine),
        }
    }

    /// The engine that the environment and the settings name: what is new is made there.
    pub(crate) async fn engine(&self) -> Result<&Arc<Connected>, BackendError> {
        self.look().await.map_err(|not_ready| self.unavailable(not_ready))
    }

    /// The engine that a box was made on.
    pub(crate) async fn noted(&self, note: &Note) -> Result<Arc<Connected>, NotReady> {
        let known = |engine: &&Arc<Connected>| engine.is_at(note);
        let mut engine = self.engine.get().filter(known).cloned();
        if engine.is_none() {
            engine = self.noted.lock().await.iter().find(known).cloned();
        }
        let engine = match engine {
            Some(engine) => engine,
            None => {
                let found =
                    Arc::new(connect_to(self.kind, self.environment.uid, note, &self.folder()).await?);
                self.noted.lock().await.push(Arc::clone(&found));
                found
            }
        };
        same(&engine, note).map(|()| engine)
    }

    /// As an error of this backend.
    pub(crate) fn unavailable(&self, NotReady { why, fix }: NotReady) -> BackendError {
        BackendError::Unavailable { backend: self.name.to_string(), why, fix }
    }

    /// Makes this backend's folders, which nobody else may enter, and keeps what was learnt of the engine.
    pub(crate) fn prepare(&self, engine: &Connected) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let boxes = self.boxes();
        if !boxes.is_dir() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&boxes)?;
        }
        engine.remember(&self.folder())
    }

    /// The installed agent's program.
    pub(crate) fn agent(&self) -> Result<&Path, BackendError> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        let agent = agentkernel_agent_binary::install(&self.state_dir.join("agent"))
            .map_err(|source| BackendError::runtime("install the guest agent", source))?;
        Ok(self.agent.get_or_init(|| agent))
    }

    /// How this process meets agents in boxes of `engine`. Runtimes that bring a kernel of their own, and machines where
    /// SELinux keeps containers from sockets of the host's, need the engine's streams.
    pub(crate) fn way(&self, engine: &Connected) -> Way {
        let runtime = engine.runtime.as_deref().unwrap_or(&engine.facts.default_runtime);
        let plain = ["runc", "crun", "youki", "io.containerd.runc.v2"].contains(&runtime);
        let enforcing =
            || std::fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1");
        match engine.facts.local && plain && !enforcing() {
            true => Way::Door,
            false => Way::Engine,
        }
    }

    /// Refuses what can't be honoured, before anything is made.
    pub(crate) fn check(
        &self,
        engine: &Connected,
        spec: &SandboxSpec,
        lifetime: Lifetime,
    ) -> Result<Vec<Feature>, BackendError> {
        let waived = refuse_unsupported(&self.name, &capabilities(self.kind, Some(engine)), spec, lifetime)?;
        mounts::check(&spec.mounts, &engine.facts)?;
        Ok(waived)
    }
}

#[async_trait]
impl Backend for DockerBackend {
    fn name(&self) -> &BackendName {
        &self.parts.name
    }

    /// Known in full only once the engine was asked, which a probe does.
    fn capabilities(&self) -> &Capabilities {
        self.parts.known.get().unwrap_or(&self.capabilities)
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(&self.images)
    }

    fn builder(&self) -> Option<&dyn ImageBuilder> {
        Some(&self.builder)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    async fn probe(&self) -> Probe {
        match self.parts.look().await {
            Ok(engine) => Probe::Ready { detail: engine.facts.describe() },
            Err(NotReady { why, fix }) => Probe::NotReady { why, fix },
        }
    }

    async fn launch(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        Ok(Box::new(ephemeral::launch(&self.parts, spec).await?))
    }

    async fn take_over(&self, handed: HandOver) -> Result<Box<dyn EphemeralBox>, BackendError> {
        Ok(Box::new(ephemeral::take_over(&self.parts, handed).await?))
    }

    /// Where the engine is looked for, and with which runtime it makes boxes. What was found there in the end is compared
    /// when a box is taken over.
    fn variant(&self) -> String {
        let Parts { environment, settings, .. } = &*self.parts;
        let EngineEnvironment { docker_host, docker_context, container_host, .. } = environment;
        let runtime = &settings.runtime;
        format!(
            "{} {docker_host:?} {docker_context:?} {container_host:?} {runtime:?}",
            env!("CARGO_PKG_VERSION")
        )
    }

    async fn create(&self, record: &BoxRecord) -> Result<(), BackendError> {
        persistent::create(&self.parts, record).await
    }

    async fn start(&self, record: &BoxRecord) -> Result<Isolation, BackendError> {
        persistent::start(&self.parts, record).await
    }

    async fn stop(&self, record: &BoxRecord, grace: Duration) -> Result<(), BackendError> {
        persistent::stop(&self.parts, record, grace).await
    }

    async fn remove(&self, record: &BoxRecord) -> Result<(), BackendError> {
        persistent::remove(&self.parts, record).await
    }

    async fn running(&self, record: &BoxRecord) -> Result<Option<Isolation>, BackendError> {
        persistent::running(&self.parts, record).await
    }

    async fn connect(&self, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError> {
        persistent::connect(&self.parts, record).await
    }

    async fn reclaim(&self, _records: &[BoxRecord]) -> Result<Reclaimed, BackendError> {
        ephemeral::reclaim(&self.parts).await
    }
}
