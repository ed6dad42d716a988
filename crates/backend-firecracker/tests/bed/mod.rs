//! The bed of machines (`cargo xtask microvm-bed qemu`) as tests use it: machines of QEMU, with our kernel, our agent as
//! init, and the test bed's images, which are kept once for all tests of one user.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use agentkernel_backend::{Backend, BackendError, Images, Probe, ReadyImage};
use agentkernel_backend_firecracker::{FirecrackerBackend, FirecrackerSettings, ShareProgram, VmmChoice};
use agentkernel_image::unpack::Ownership;
use agentkernel_image::{Direct, ImageStore, ImportRequest, ImportSource, StoreSettings};
use agentkernel_model::{ImageConfig, ImageRef, PullPolicy, PullProgress};
use async_trait::async_trait;

/// The images of the bed, the one that cases run on first.
const NAMES: [&str; 3] = ["busybox", "musl", "static"];

/// What is in a store, and nothing else.
struct Stored(ImageStore);

#[async_trait]
impl Images for Stored {
    async fn find(&self, image: &ImageRef) -> Result<Option<ReadyImage>, BackendError> {
        let found = self.0.find(image).map_err(|error| BackendError::runtime("find an image", error))?;
        Ok(found.map(|image| ReadyImage { id: image.id, config: image.config }))
    }

    async fn prepare(
        &self,
        image: &ImageRef,
        _policy: PullPolicy,
        _progress: &dyn PullProgress,
    ) -> Result<ReadyImage, BackendError> {
        let missing = || BackendError::NotFound { what: format!("image {image}") };
        self.find(image).await?.ok_or_else(missing)
    }
}

/// The images of a state.
pub(crate) fn store(state_dir: &Path) -> ImageStore {
    ImageStore::with_settings(state_dir, Arc::new(Direct::with(Ownership::Ignore)), StoreSettings::default())
}

/// A backend of its own on the state in `state_dir`.
pub(crate) fn open(state_dir: &Path, settings: &FirecrackerSettings) -> Arc<dyn Backend> {
    let images = Arc::new(Stored(store(state_dir)));
    Arc::new(FirecrackerBackend::open(state_dir, store(state_dir), images, settings.clone()))
}

/// The bed's image that has a shell.
pub(crate) fn image() -> ImageRef {
    reference(NAMES[0])
}

/// The name of an image of the bed.
pub(crate) fn reference(name: &str) -> ImageRef {
    format!("agentkernel-test/{name}:1").parse().expect("a reference")
}

fn named(variable: &str) -> Result<PathBuf, String> {
    let missing = || format!("{variable} is not set (`cargo xtask microvm-bed qemu start` tells it)");
    std::env::var_os(variable).map(PathBuf::from).ok_or_else(missing)
}

/// The argument that makes [`share_process`] more than a test.
pub(crate) const SHARE: &str = "serve-a-folder";

/// This program, as what serves folders: told to run the test that does.
fn share() -> ShareProgram {
    let arguments = ["bed::share_process", SHARE, "--exact", "--nocapture"];
    ShareProgram {
        path: std::env::current_exe().unwrap_or_default(),
        arguments: arguments.map(Into::into).into(),
    }
}

/// No test, but the life of a process that serves a folder to a machine of one.
#[test]
fn share_process() {
    if std::env::args_os().any(|argument| argument == SHARE) {
        agentkernel_backend_firecracker::share_main().expect("the machine ends it well");
    }
}

/// Whether machines are those of a real Firecracker, as the bed firecracker-svm has it.
pub(crate) fn has_real_firecracker() -> bool {
    std::env::var_os("AGENTKERNEL_TEST_VMM").is_some_and(|vmm| vmm == "firecracker")
}

/// Machines of QEMU; of Firecracker, in the bed firecracker-svm, where that is asked for.
fn settings() -> Result<FirecrackerSettings, String> {
    let kernel = Some(named("AGENTKERNEL_TEST_KERNEL")?);
    if has_real_firecracker() {
        return Ok(FirecrackerSettings {
            kernel,
            firecracker: Some(named("FIRECRACKER_BIN")?),
            jailer: Some(named("JAILER_BIN")?),
            share: share(),
            ..FirecrackerSettings::default()
        });
    }
    Ok(FirecrackerSettings {
        vmm: VmmChoice::Qemu,
        kernel,
        qemu: Some(named("AGENTKERNEL_TEST_QEMU")?),
        vhost_device_vsock: Some(named("AGENTKERNEL_TEST_VHOST_VSOCK")?),
        share: share(),
        ..FirecrackerSettings::default()
    })
}

/// A state folder with the bed's images in it, and what machines are made with; the reason where a part is missing.
pub(crate) async fn prepare() -> Result<(tempfile::TempDir, FirecrackerSettings), String> {
    let settings = settings()?;
    let state = tempfile::Builder::new().prefix("agentkernel-state-").tempdir();
    let state = state.map_err(|error| error.to_string())?;
    let shared = fill(&named("AGENTKERNEL_TEST_BED")?)?;
    std::os::unix::fs::symlink(shared.join("images"), state.path().join("images"))
        .map_err(|error| error.to_string())?;
    match open(state.path(), &settings).probe().await {
        Probe::Ready { .. } => Ok((state, settings)),
        Probe::NotReady { why, fix } => Err(format!("no machine can be made here: {why}; {fix}")),
    }
}

pub(crate) fn private(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A state folder with the images: in the bed, or where this user may write; another one for another bed.
fn fill(bed: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| error.to_string();
    let archive = |name: &str| bed.join(format!("images/{name}.docker.tar"));
    let made = std::fs::metadata(archive(NAMES[0])).and_then(|metadata| metadata.modified());
    let made = made.map_err(|error| format!("{}: {error}", archive(NAMES[0]).display()))?;
    let made = made.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let name = format!("agentkernel-machine-images-{}-{made}", rustix::process::geteuid().as_raw());
    let mut folder = bed.join(&name);
    if private(&folder).is_err() {
        folder = std::env::temp_dir().join(&name);
        private(&folder).map_err(failed)?;
    }
    // One process imports, the others wait for it.
    let lock = std::fs::File::create(folder.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let store = store(&folder);
    for name in NAMES.into_iter().filter(|name| archive(name).exists()) {
        if store.find(&reference(name)).map_err(|error| error.to_string())?.is_some() {
            continue;
        }
        let source = ImportSource::Path(archive(name));
        let request =
            ImportRequest { source, names: Vec::new(), config: ImageConfig::default(), platform: None };
        store.import(request).map_err(|error| format!("{}: {error}", archive(name).display()))?;
    }
    Ok(folder)
}
