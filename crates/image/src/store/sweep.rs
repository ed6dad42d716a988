//! Taking away what no record names. Everything here is done while nobody adds.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::ImageStore;
use super::files::{WRITING_PREFIX, move_aside, names_in, remove_file};
use crate::unpack::remove_folder;
use crate::{Digest, ImageError};

/// What no record named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Orphans {
    pub(crate) layers: u64,
    pub(crate) blobs: u64,
    pub(crate) blob_bytes: u64,
}

impl ImageStore {
    /// Layers and block images that were never whole, or are half gone, of all kinds. Cheap: listings.
    pub(crate) fn sweep_half_made(&self) -> Result<(), ImageError> {
        for kind in names_in(&self.place().layers())? {
            let folder = self.place().kind(&kind);
            for name in names_in(&folder)? {
                if [".new-", ".ready-", ".trash-"].iter().any(|prefix| name.starts_with(prefix)) {
                    self.remove_layer_folder(&kind, &folder.join(name))?;
                }
            }
            sweep_half_written(&folder)?;
        }
        self.sweep_half_made_blocks()?;
        sweep_half_written(&self.place().records())?;
        sweep_half_written(&self.place().names())
    }

    /// Layers, block images and blobs that no record names, names that mean nothing, and what is half-made. Blobs in `kept` stay.
    pub(crate) fn sweep_orphans(&self, kept: &BTreeSet<Digest>) -> Result<Orphans, ImageError> {
        self.sweep_half_made()?;
        let images = self.images()?;
        let layers: BTreeSet<String> =
            images.iter().flat_map(|image| image.layers.iter().map(|layer| layer.diff_id.hex())).collect();
        let mut orphans = Orphans::default();
        for kind in names_in(&self.place().layers())? {
            orphans.layers += self.sweep_layers(&kind, &layers)?;
        }
        self.sweep_blocks(&images.iter().map(|image| image.id.hex().to_owned()).collect())?;
        let mut blobs: BTreeSet<Digest> = images.iter().flat_map(|image| image.blobs()).collect();
        blobs.extend(kept);
        for (digest, _) in self.blobs().list()? {
            if !blobs.contains(&digest) {
                orphans.blobs += 1;
                orphans.blob_bytes += self.blobs().remove(&digest)?;
            }
        }
        self.sweep_names()?;
        Ok(orphans)
    }

    fn sweep_layers(&self, kind: &str, kept: &BTreeSet<String>) -> Result<u64, ImageError> {
        let folder = self.place().kind(kind);
        let mut removed = 0;
        for name in names_in(&folder)? {
            let path = folder.join(&name);
            match name.strip_prefix(".report-") {
                Some(layer) if !kept.contains(layer) => remove_file(&path)?,
                Some(_) => {}
                None if name.starts_with('.') || kept.contains(&name) => {}
                None => {
                    // Never half a layer under its name.
                    if let Some(aside) = move_aside(&path)? {
                        self.remove_layer_folder(kind, &aside)?;
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }

    /// A name whose record is gone means nothing.
    fn sweep_names(&self) -> Result<(), ImageError> {
        let folder = self.place().names();
        for name in names_in(&folder)? {
            let link = folder.join(name);
            match std::fs::metadata(&link) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => remove_file(&link)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Layers of another kind belong to other ids: who may remove them does.
    fn remove_layer_folder(&self, kind: &str, folder: &Path) -> Result<(), ImageError> {
        if kind == self.kind() {
            return self.unpacker().remove(folder);
        }
        if let Err(error) = remove_folder(folder) {
            tracing::warn!(%error, kind, "a layer that belongs to other users is left");
        }
        Ok(())
    }
}

fn sweep_half_written(folder: &Path) -> Result<(), ImageError> {
    let names = names_in(folder)?;
    names
        .iter()
        .filter(|name| name.starts_with(WRITING_PREFIX))
        .try_for_each(|name| remove_file(&folder.join(name)))
}
