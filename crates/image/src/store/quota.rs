//! Keeping the store within its bytes.

use std::collections::BTreeSet;

use agentkernel_model::ImageId;

use super::lock::FileLock;
use super::names::names_of;
use super::{ImageStore, StoredImage};
use crate::{Digest, ImageError};

impl ImageStore {
    /// Makes room for `needed` more bytes, where there is a limit: orphans go first, then blobs of unpacked layers, then
    /// the images that weren't used for the longest time. What is in use stays, and so do `image` and the blobs in `kept`.
    /// Must not be called while adding.
    ///
    /// # Errors
    /// [`ImageError::Quota`] where all that may go isn't enough; what went until then is gone.
    pub(crate) fn make_room(
        &self,
        needed: u64,
        image: Option<&ImageId>,
        kept: &BTreeSet<Digest>,
    ) -> Result<(), ImageError> {
        let Some(max_bytes) = self.settings().max_bytes else { return Ok(()) };
        let fits = || Ok::<_, ImageError>(self.usage()?.total_bytes.saturating_add(needed) <= max_bytes);
        if fits()? {
            return Ok(());
        }
        // Where somebody adds, room is made by whoever comes last.
        let Some(_alone) = FileLock::try_exclusive(&self.place().lock())? else { return Ok(()) };
        self.sweep_orphans(kept)?;
        if fits()? {
            return Ok(());
        }
        self.drop_unpacked_blobs(kept)?;
        let mut in_use = self.settings().in_use.as_ref().map_or_else(BTreeSet::new, |in_use| in_use());
        in_use.extend(image.cloned());
        let mut held = Vec::new();
        let mut oldest: Vec<_> = self.ids()?.into_iter().map(|id| (self.last_used(&id), id)).collect();
        oldest.sort();
        for (_, id) in oldest {
            if fits()? {
                return Ok(());
            }
            if Some(&id) == image {
                continue;
            }
            if in_use.contains(&id) || !self.remove_record(&id)? {
                held.push(self.called(&id)?);
                continue;
            }
            tracing::info!(%id, "removed an image to keep within the limit of bytes");
            self.sweep_orphans(kept)?;
        }
        match fits()? {
            true => Ok(()),
            false => Err(ImageError::Quota {
                max_bytes,
                needed: self.usage()?.total_bytes.saturating_add(needed),
                in_use: held,
            }),
        }
    }

    /// Room for an image that was just added; where that can't be had it goes again, unless somebody uses it already.
    pub(crate) fn settle_within_limit(&self, image: &StoredImage) -> Result<(), ImageError> {
        let made = self.make_room(0, Some(&image.id), &BTreeSet::new());
        if matches!(made, Err(ImageError::Quota { .. })) && self.remove_record(&image.id)? {
            self.try_sweep_orphans()?;
        }
        made
    }

    /// Export and another kind of ownership would need them; both can be had by pulling again.
    fn drop_unpacked_blobs(&self, kept: &BTreeSet<Digest>) -> Result<(), ImageError> {
        for image in self.images()? {
            for layer in image.layers.iter().filter(|layer| !kept.contains(&layer.blob)) {
                if self.unpacked(&layer.diff_id)?.is_some() {
                    self.blobs().remove(&layer.blob)?;
                }
            }
        }
        Ok(())
    }

    fn called(&self, id: &ImageId) -> Result<String, ImageError> {
        Ok(names_of(self.place(), id)?.into_iter().next().unwrap_or_else(|| id.short().to_owned()))
    }
}
