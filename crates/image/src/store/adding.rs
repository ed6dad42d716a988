//! Adding an image: layers first, then the record, then names.

use std::path::PathBuf;

use agentkernel_model::{ImageConfig, ImageId};

use super::lock::FileLock;
use super::names::set_name;
use super::record::write_record;
use super::{ImageStore, StoredImage, StoredLayer};
use crate::unpack::UnpackReport;
use crate::{Digest, ImageError, Platform, Reference};

/// A layer whose blob is here.
#[derive(Debug, Clone)]
pub(crate) struct LayerSource {
    pub(crate) diff_id: Digest,
    pub(crate) media_type: String,
    pub(crate) path: PathBuf,
}

/// An image whose layers are unpacked.
#[derive(Debug)]
pub(crate) struct NewImage {
    pub(crate) id: ImageId,
    pub(crate) config: ImageConfig,
    pub(crate) manifest: Digest,
    pub(crate) platform: Option<Platform>,
    pub(crate) created: Option<String>,
    /// Lowest first; what they came to is filled in.
    pub(crate) layers: Vec<StoredLayer>,
}

/// While it lives, nothing that no record names yet is taken for an orphan.
pub(crate) struct Adding {
    store: ImageStore,
    _lock: FileLock,
}

impl ImageStore {
    /// Waits while orphans are removed. Removes half-made layers of the dead itself, where nobody else adds.
    pub(crate) fn begin_adding(&self) -> Result<Adding, ImageError> {
        self.place().make(self.kind())?;
        let path = self.place().lock();
        if let Some(_alone) = FileLock::try_exclusive(&path)? {
            self.sweep_half_made()?;
        }
        Ok(Adding { store: self.clone(), _lock: FileLock::shared(&path)? })
    }

    /// Lets `names` mean a stored image; `None` where it is gone meanwhile.
    pub(crate) fn add_names(
        &self,
        id: &ImageId,
        names: &[Reference],
    ) -> Result<Option<StoredImage>, ImageError> {
        // Held, it isn't removed between our looking and our naming.
        let Some((image, _lease)) = self.lease(id)? else { return Ok(None) };
        for name in names {
            set_name(self.place(), name, id)?;
        }
        Ok(Some(image))
    }
}

impl Adding {
    pub(crate) fn store(&self) -> &ImageStore {
        &self.store
    }

    pub(crate) fn unpack(&self, layer: &LayerSource) -> Result<UnpackReport, ImageError> {
        self.store.unpack(layer)
    }

    /// From now on the image is here, under `names`.
    pub(crate) fn commit(&self, image: NewImage, names: &[Reference]) -> Result<StoredImage, ImageError> {
        let NewImage { id, config, manifest, platform, created, mut layers } = image;
        for layer in &mut layers {
            let report = self.store.unpacked(&layer.diff_id)?;
            let report = report.ok_or_else(|| ImageError::Missing { image: id.to_string() })?;
            (layer.bytes, layer.hides_all_lower) = (report.bytes, report.hides_all_lower);
        }
        self.store.settle(&layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>())?;
        let image = StoredImage { id, config, manifest, platform, created, layers };
        loop {
            write_record(&self.store.place().record(&image.id), &image)?;
            // Somebody may remove it right now.
            if let Some(image) = self.store.add_names(&image.id, names)? {
                return Ok(image);
            }
        }
    }
}
