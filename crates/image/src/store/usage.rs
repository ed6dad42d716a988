//! How much room images take.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ImageStore, StoredImage};
use crate::ImageError;

/// Bytes on disk, as far as the store knows them without looking at each file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Images.
    pub images: u64,
    /// Different layers.
    pub layers: u64,
    /// Bytes of the files of all layers, each layer once.
    pub layer_bytes: u64,
    /// Of these, bytes of layers that several images share.
    pub shared_bytes: u64,
    /// Bytes of all blobs.
    pub blob_bytes: u64,
    /// Bytes of interrupted downloads.
    pub partial_bytes: u64,
    /// Bytes of images as block devices.
    pub block_bytes: u64,
    /// Layers, blobs and block devices.
    pub total_bytes: u64,
    /// The most that these may take; `None` for no limit.
    pub max_bytes: Option<u64>,
}

impl ImageStore {
    /// How much room all images take.
    pub fn usage(&self) -> Result<Usage, ImageError> {
        let images = self.images()?;
        let layers = layer_uses(&images);
        let layer_bytes = layers.values().map(|(bytes, _)| bytes).sum();
        let blob_bytes = self.blobs().list()?.iter().map(|(_, bytes)| bytes).sum();
        let block_bytes = self.block_bytes()?;
        Ok(Usage {
            images: images.len() as u64,
            layers: layers.len() as u64,
            layer_bytes,
            shared_bytes: layers.values().filter(|(_, uses)| *uses > 1).map(|(bytes, _)| bytes).sum(),
            blob_bytes,
            partial_bytes: self.blobs().partial_bytes()?,
            block_bytes,
            total_bytes: layer_bytes + blob_bytes + block_bytes,
            max_bytes: self.settings().max_bytes,
        })
    }
}

/// Each layer's bytes, and how many images have it.
pub(crate) fn layer_uses(images: &[StoredImage]) -> BTreeMap<crate::Digest, (u64, u64)> {
    let mut layers = BTreeMap::new();
    for image in images {
        let mut own: Vec<_> = image.layers.iter().map(|layer| (layer.diff_id, layer.bytes)).collect();
        own.sort();
        own.dedup();
        for (diff_id, bytes) in own {
            layers.entry(diff_id).or_insert((bytes, 0)).1 += 1;
        }
    }
    layers
}
