//! Images of native boxes: our own store, and what of it a box starts from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkernel_backend::BackendError;
use agentkernel_image::unpack::Ownership;
use agentkernel_image::{Direct, ImageStore, Lease, RegistrySettings, StoreImages, StoreSettings, Unpacker};
use agentkernel_model::SandboxSpec;

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
pub(crate) fn images(machine: &Machine, state_dir: &Path, settings: &NativeSettings) -> StoreImages {
    StoreImages {
        store: store_of(machine, state_dir, settings),
        registry: settings.registry.clone(),
        backend: NAME,
        without: Some("run on `--image host`"),
    }
}

/// What a box starts from, held.
pub(crate) struct Start {
    pub(crate) base: Base,
    /// Keeps the image while a one-shot box uses it.
    pub(crate) lease: Option<Lease>,
}

impl Start {
    /// The folders of what `spec` names by id.
    pub(crate) fn of(images: &StoreImages, spec: &SandboxSpec) -> Result<Self, BackendError> {
        if spec.image.is_host() {
            return Ok(Self { base: Base::Host, lease: None });
        }
        let id = spec.image_id.as_ref().ok_or_else(|| BackendError::Invalid {
            what: format!("image {} was named and not prepared", spec.image),
        })?;
        let rootfs = images.store.rootfs(id).map_err(|error| images.failed(&spec.image, error))?;
        let folders = ImageFolders::of(&rootfs.layers)
            .ok_or_else(|| BackendError::Invalid { what: format!("image {} has no files", spec.image) })?;
        Ok(Self { base: Base::Image(folders), lease: Some(rootfs.lease) })
    }
}

impl Machine {
    /// The map of every box of an ordinary user with subordinate ids.
    fn subordinate_map(&self) -> Option<IdMap> {
        // Only the map of root's boxes is a matter of chance, and can fail.
        self.new_id_map().ok().filter(|map| matches!(map, IdMap::Subordinate { .. }))
    }
}
