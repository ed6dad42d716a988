//! Images of native boxes: our own store, and what of it a box starts from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkernel_backend::{BackendError, Images, ReadyImage};
use agentkernel_image::unpack::Ownership;
use agentkernel_image::{
    Direct, ImageError, ImageStore, Lease, RegistrySettings, StoreSettings, StoredImage, Unpacker,
};
use agentkernel_model::{ImageRef, PullPolicy, PullProgress, SandboxSpec};
use async_trait::async_trait;

use crate::identity::IdMap;
use crate::layout::{Base, ImageFolders};
use crate::machine::Machine;
use crate::name::NAME;
use crate::unpacker::NamespaceUnpacker;

/// What the user decides of native boxes, beside each box's own specification.
#[derive(Debug, Clone, Default)]
pub struct NativeSettings {
    /// How registries are reached.
    pub registry: RegistrySettings,
    /// How images are kept.
    pub images: StoreSettings,
    /// A program that understands `internal-unpack` as `agentkernel` does: itself. Used where an ordinary user has
    /// subordinate ids; layers then belong to those.
    pub internal_unpack: PathBuf,
}

/// The images of this user's native boxes, in `<state_dir>/images`, owned as boxes need them. Makes nothing.
pub fn image_store(state_dir: &Path, settings: &NativeSettings) -> ImageStore {
    store_of(&Machine::detect(), state_dir, settings)
}

fn store_of(machine: &Machine, state_dir: &Path, settings: &NativeSettings) -> ImageStore {
    let unpacker: Arc<dyn Unpacker> = match machine.subordinate_map() {
        Some(map) => Arc::new(NamespaceUnpacker::new(map, settings.internal_unpack.clone())),
        None if machine.rootless => Arc::new(Direct::with(Ownership::Ignore)),
        None => Arc::new(Direct::with(Ownership::Keep)),
    };
    ImageStore::with_settings(state_dir, unpacker, settings.images.clone())
}

/// The store, and how it is filled.
pub(crate) struct NativeImages {
    store: ImageStore,
    registry: RegistrySettings,
}

/// What a box starts from, held.
pub(crate) struct Start {
    pub(crate) base: Base,
    /// Keeps the image while a one-shot box uses it.
    pub(crate) lease: Option<Lease>,
}

impl NativeImages {
    pub(crate) fn open(machine: &Machine, state_dir: &Path, settings: &NativeSettings) -> Self {
        Self { store: store_of(machine, state_dir, settings), registry: settings.registry.clone() }
    }

    /// The folders of what `spec` names by id.
    pub(crate) fn start(&self, spec: &SandboxSpec) -> Result<Start, BackendError> {
        if spec.image.is_host() {
            return Ok(Start { base: Base::Host, lease: None });
        }
        let id = spec.image_id.as_ref().ok_or_else(|| BackendError::Invalid {
            what: format!("image {} was named and not prepared", spec.image),
        })?;
        let rootfs = self.store.rootfs(id).map_err(|error| failed(&spec.image, error))?;
        let folders = ImageFolders::of(&rootfs.layers)
            .ok_or_else(|| BackendError::Invalid { what: format!("image {} has no files", spec.image) })?;
        Ok(Start { base: Base::Image(folders), lease: Some(rootfs.lease) })
    }
}

#[async_trait]
impl Images for NativeImages {
    async fn find(&self, image: &ImageRef) -> Result<Option<ReadyImage>, BackendError> {
        let found = self.store.find(image).map_err(|error| failed(image, error))?;
        Ok(found.map(ready))
    }

    async fn prepare(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: &dyn PullProgress,
    ) -> Result<ReadyImage, BackendError> {
        let prepared = self.store.prepare(image, policy, &self.registry, progress).await;
        prepared.map(ready).map_err(|error| failed(image, error))
    }
}

fn ready(image: StoredImage) -> ReadyImage {
    ReadyImage { id: image.id, config: image.config }
}

fn failed(image: &ImageRef, error: ImageError) -> BackendError {
    let unavailable = |why: String, fix: &str| BackendError::Unavailable {
        backend: NAME.to_owned(),
        why,
        fix: fix.to_owned(),
    };
    match error {
        ImageError::Reference { .. } | ImageError::Ambiguous { .. } | ImageError::Setting { .. } => {
            BackendError::Invalid { what: error.to_string() }
        }
        ImageError::NotFound { reference, registry, .. } => {
            let why = format!("registry {registry} has no image {reference}");
            BackendError::NoImage { why, fix: "check the name and tag".to_owned() }
        }
        ImageError::Unreachable { reference, registry, why } => unavailable(
            format!("image {reference} is not here and registry {registry} can't be reached: {why}"),
            "use an image of `agentkernel image list`, import one with `agentkernel image import FILE`, or run on \
             `--image host`",
        ),
        ImageError::Missing { image } => BackendError::NoImage {
            why: format!("image {image} is not here"),
            fix: "fetch it with `agentkernel image pull`, or let it be fetched with `--pull missing`"
                .to_owned(),
        },
        other => BackendError::runtime(format!("get image {image}"), other),
    }
}

impl Machine {
    /// The map of every box of an ordinary user with subordinate ids.
    fn subordinate_map(&self) -> Option<IdMap> {
        // Only the map of root's boxes is a matter of chance, and can fail.
        self.new_id_map().ok().filter(|map| matches!(map, IdMap::Subordinate { .. }))
    }
}
