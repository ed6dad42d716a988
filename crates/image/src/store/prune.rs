//! Removing all that nobody needs.

use std::collections::BTreeSet;
use std::time::Duration;

use agentkernel_model::ImageId;
use serde::Serialize;

use super::ImageStore;
use super::names::{all_names, is_tag};
use crate::{ImageError, PrunedPartials};

/// What goes.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// Also images with names that no sandbox was made from.
    pub all: bool,
    /// Images that sandboxes were made from, running or not: they stay.
    pub in_use: BTreeSet<ImageId>,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Images.
    pub images: Vec<ImageId>,
    /// Unpacked layers.
    pub layers: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of those blobs.
    pub blob_bytes: u64,
    /// Interrupted downloads.
    pub partials: PrunedPartials,
    /// Whether layers and blobs had to stay, because something is being added now.
    pub left_for_next: bool,
}

impl ImageStore {
    /// Removes images that no tag names (with `all` those that have one as well), and all that no image needs:
    /// layers, blobs, interrupted downloads, half-made things. What is in use stays.
    pub fn prune(&self, request: &PruneRequest) -> Result<Pruned, ImageError> {
        if !self.place().images().exists() {
            return Ok(Pruned::default());
        }
        let tagged: BTreeSet<ImageId> =
            all_names(self.place())?.into_iter().filter(|(name, _)| is_tag(name)).map(|(_, id)| id).collect();
        let mut pruned = Pruned::default();
        for id in self.ids()? {
            let stays = request.in_use.contains(&id) || (!request.all && tagged.contains(&id));
            if !stays && self.remove_record(&id)? {
                pruned.images.push(id);
            }
        }
        let (orphans, left_for_next) = self.try_sweep_orphans()?;
        pruned.layers = orphans.layers;
        (pruned.blobs, pruned.blob_bytes) = (orphans.blobs, orphans.blob_bytes);
        // Those that are being written are locked and stay.
        pruned.partials = self.blobs().prune_partials(Duration::ZERO)?;
        pruned.left_for_next = left_for_next;
        Ok(pruned)
    }
}
