//! The verbs of the backend, each in a few steps of the parts beside this.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agentkernel_backend::{
    Backend, BackendError, BoxRecord, EphemeralBox, Guest, HandOver, ImageBuilder, Images, Lifetime, Probe,
    Reclaimed, Snapshots, refuse_unsupported,
};
use agentkernel_folder_share::ShareProgram;
use agentkernel_image::{BlockImage, ImageError, ImageStore};
use agentkernel_model::{BackendName, Capabilities, Feature, Isolation, SandboxSpec};
use agentkernel_network::Stamp;
use async_trait::async_trait;

use crate::equipment::{self, Equipment, NotReady};
use crate::plan::Plan;
use crate::rates::DeviceRates;
use crate::settings::{FirecrackerSettings, VmmChoice};
use crate::surroundings::Surroundings;
use crate::{ephemeral, kept, persistent, start};

/// What templates may take of the disk where nobody says.
const USUAL_TEMPLATE_BYTES: u64 = 4 << 30;

/// As `--backend` spells it.
pub(crate) const NAME: &str = "firecracker";

pub(crate) fn name() -> BackendName {
    #[expect(clippy::expect_used, reason = "a constant that is a name")]
    NAME.parse().expect("a name")
}

/// MicroVMs.
pub struct FirecrackerBackend {
    parts: Arc<Parts>,
    images: Arc<dyn Images>,
}

/// What all parts of the backend share.
pub(crate) struct Parts {
    name: BackendName,
    state_dir: PathBuf,
    settings: FirecrackerSettings,
    store: Arc<ImageStore>,
    capabilities: OnceLock<Capabilities>,
    surroundings: OnceLock<Surroundings>,
    equipment: OnceLock<Result<Equipment, NotReady>>,
}

impl FirecrackerBackend {
    /// The parts with what the sandbox was made with.
    pub(crate) fn parts_of(&self, record: &BoxRecord) -> Result<Arc<Parts>, BackendError> {
        self.parts_by(record, &record.dir)
    }

    /// The parts for a sandbox with what `folder` says that it is to be made with: its own, or a snapshot's.
    pub(crate) fn parts_by(&self, record: &BoxRecord, folder: &Path) -> Result<Arc<Parts>, BackendError> {
        let settings = kept::settings(&self.parts.settings, record, folder)?;
        Ok(match settings == self.parts.settings {
            true => Arc::clone(&self.parts),
            false => Arc::new(Parts::new(&self.parts.state_dir, settings, Arc::clone(&self.parts.store))),
        })
    }

    /// Looks at nothing and makes nothing. `state_dir` is the private folder of this user's agentkernel, `store` its images,
    /// which `images` fetches.
    pub fn open(
        state_dir: &Path,
        store: ImageStore,
        images: Arc<dyn Images>,
        settings: FirecrackerSettings,
    ) -> Self {
        let parts = Parts::new(state_dir, settings, Arc::new(store));
        Self { parts: Arc::new(parts), images }
    }
}

fn capabilities(surroundings: &Surroundings, has_snapshots: bool) -> Capabilities {
    let network = surroundings.missing();
    let snapshots = (!has_snapshots).then(|| {
        let why = "QEMU's machines can't be saved as they run: set vmm = \"firecracker\"";
        (Feature::Snapshots, why.to_owned())
    });
    Capabilities::all_but(
        [(Feature::HostImage, "a machine starts from an OCI image; name one with --image")]
            .map(|(feature, why)| (feature, why.to_owned()))
            .into_iter()
            .chain(network)
            .chain(snapshots),
    )
}

impl Parts {
    /// Notes in `folder` what a sandbox is made with.
    pub(crate) fn keep(
        &self,
        record: &BoxRecord,
        folder: &Path,
        rates: DeviceRates,
    ) -> Result<(), BackendError> {
        kept::keep(&FirecrackerSettings { rates, ..self.settings.clone() }, record, folder)
    }

    fn new(state_dir: &Path, settings: FirecrackerSettings, store: Arc<ImageStore>) -> Self {
        Self {
            name: name(),
            state_dir: state_dir.to_owned(),
            settings,
            store,
            capabilities: OnceLock::new(),
            surroundings: OnceLock::new(),
            equipment: OnceLock::new(),
        }
    }

    /// This backend's own folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.state_dir.join(NAME)
    }

    /// The notes of one-shot boxes.
    pub(crate) fn leases(&self) -> PathBuf {
        self.folder().join("leases")
    }

    /// The folder of one-shot box `id`.
    pub(crate) fn place(&self, id: &str) -> PathBuf {
        self.folder().join("boxes").join(id)
    }

    /// The file of the image that `spec` names by id, and the hold on it. Made where it isn't there, which takes about as
    /// long as unpacking.
    pub(crate) async fn block_image(&self, spec: &SandboxSpec) -> Result<BlockImage, BackendError> {
        let id = spec.image_id.as_ref().ok_or_else(|| BackendError::Invalid {
            what: format!("image {} was named and not prepared", spec.image),
        })?;
        let (store, id) = (Arc::clone(&self.store), id.clone());
        let failed = |error: String| BackendError::runtime(format!("prepare image {}", spec.image), error);
        let made = tokio::task::spawn_blocking(move || store.block_image(&id)).await;
        made.map_err(|error| failed(error.to_string()))?.map_err(|error| match error {
            ImageError::Missing { image } => BackendError::NoImage {
                why: format!("image {image} is not here"),
                fix: "fetch it with `agentkernel image pull`".to_owned(),
            },
            other => BackendError::runtime(format!("prepare image {}", spec.image), other),
        })
    }

    pub(crate) fn name(&self) -> &BackendName {
        &self.name
    }

    /// What this computer puts around machines.
    pub(crate) fn surroundings(&self) -> &Surroundings {
        self.surroundings.get_or_init(Surroundings::detect)
    }

    fn capabilities(&self) -> &Capabilities {
        self.capabilities.get_or_init(|| capabilities(self.surroundings(), self.has_snapshots()))
    }

    fn look(&self) -> &Result<Equipment, NotReady> {
        self.equipment.get_or_init(|| Equipment::find(&self.settings, &self.folder()))
    }

    /// What serves the user's mounts.
    pub(crate) fn share_program(&self) -> &ShareProgram {
        &self.settings.share
    }

    /// What machines are made with.
    pub(crate) fn equipment(&self) -> Result<&Equipment, BackendError> {
        self.look().as_ref().map_err(|NotReady { why, fix }| BackendError::Unavailable {
            backend: NAME.to_owned(),
            why: why.clone(),
            fix: fix.clone(),
        })
    }

    /// Whether machines can stand still and be copied: only Firecracker's.
    fn has_snapshots(&self) -> bool {
        self.settings.vmm == VmmChoice::Firecracker
    }

    /// The most that templates may take of the disk.
    pub(crate) fn template_bytes(&self) -> u64 {
        self.settings.max_template_bytes.unwrap_or(USUAL_TEMPLATE_BYTES)
    }

    /// Limits of each machine's devices.
    pub(crate) fn rates(&self) -> DeviceRates {
        self.settings.rates
    }

    /// How long an agent may say nothing while it is waited for.
    pub(crate) fn longest_silence(&self) -> Duration {
        self.settings.longest_silence.unwrap_or(start::LONGEST_SILENCE)
    }

    /// The agent as a machine's first file system.
    pub(crate) fn initramfs(&self) -> Result<PathBuf, BackendError> {
        let folder = self.folder();
        start::make_private(&folder)
            .and_then(|()| equipment::install_initramfs(&folder))
            .map_err(|source| BackendError::runtime("install the guest agent", source))
    }

    /// Refuses what can't be honoured, before anything is made.
    pub(crate) fn plan<'a>(
        &self,
        spec: &'a SandboxSpec,
        lifetime: Lifetime,
    ) -> Result<Plan<'a>, BackendError> {
        self.plan_with(spec, lifetime, &self.settings.rates)
    }

    /// The same for a machine whose devices are limited otherwise.
    pub(crate) fn plan_with<'a>(
        &self,
        spec: &'a SandboxSpec,
        lifetime: Lifetime,
        rates: &DeviceRates,
    ) -> Result<Plan<'a>, BackendError> {
        let waived = refuse_unsupported(&self.name, self.capabilities(), spec, lifetime)?;
        let rates = rates.honoured(spec, self.settings.vmm)?;
        Plan::new(spec, lifetime, waived, rates, self.surroundings())
    }
}

#[async_trait]
impl Backend for FirecrackerBackend {
    fn name(&self) -> &BackendName {
        &self.parts.name
    }

    fn capabilities(&self) -> &Capabilities {
        self.parts.capabilities()
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(&*self.images)
    }

    fn builder(&self) -> Option<&dyn ImageBuilder> {
        None
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.parts.has_snapshots().then_some(self)
    }

    async fn probe(&self) -> Probe {
        match self.parts.look() {
            Ok(equipment) => equipment.probe().await,
            Err(NotReady { why, fix }) => Probe::NotReady { why: why.clone(), fix: fix.clone() },
        }
    }

    async fn launch(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        Ok(Box::new(ephemeral::launch(&self.parts, spec).await?))
    }

    async fn take_over(&self, handed: HandOver) -> Result<Box<dyn EphemeralBox>, BackendError> {
        Ok(Box::new(ephemeral::take_over(&self.parts, handed)?))
    }

    /// Which machines it makes, and with which agent; and a machine keeps the resolver that its host had.
    fn variant(&self) -> String {
        let FirecrackerSettings {
            vmm,
            firecracker,
            jailer,
            kernel,
            qemu,
            vhost_device_vsock,
            allow_emulated_kvm,
            rates,
            search: _,
            max_template_bytes: _,
            longest_silence: _,
            is_fake: _,
            share: _,
        } = &self.parts.settings;
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "{version} {vmm:?} {firecracker:?} {jailer:?} {kernel:?} {qemu:?} {vhost_device_vsock:?} {allow_emulated_kvm} {rates:?} {:?}",
            Stamp::now()
        )
    }

    async fn create(&self, record: &BoxRecord) -> Result<(), BackendError> {
        persistent::create(&self.parts, record).await?;
        self.parts.keep(record, &record.dir, self.parts.settings.rates)
    }

    async fn start(&self, record: &BoxRecord) -> Result<Isolation, BackendError> {
        persistent::start(&*self.parts_of(record)?, record).await
    }

    async fn stop(&self, record: &BoxRecord, grace: Duration) -> Result<(), BackendError> {
        persistent::stop(&self.parts, record, grace).await
    }

    async fn remove(&self, record: &BoxRecord) -> Result<(), BackendError> {
        persistent::remove(&self.parts, record)?;
        kept::forget(record)
    }

    async fn running(&self, record: &BoxRecord) -> Result<Option<Isolation>, BackendError> {
        Ok(persistent::running(record)?.map(|(_, isolation)| isolation))
    }

    async fn connect(&self, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError> {
        persistent::connect(&self.parts, record).await
    }

    async fn reclaim(&self, _records: &[BoxRecord]) -> Result<Reclaimed, BackendError> {
        ephemeral::reclaim(&self.parts)
    }
}
