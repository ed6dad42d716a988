//! Removing one image, or one of its names.

use std::collections::BTreeSet;
use std::fs::File;

use agentkernel_model::{ImageId, ImageRef};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Serialize;

use super::ImageStore;
use super::files::{remove_file, sync_folder};
use super::lock::FileLock;
use super::names::{is_tag, names_of, remove_name, whole_name};
use super::sweep::Orphans;
use crate::{ImageError, Reference};

/// What [`ImageStore::remove`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Names that mean nothing any more.
    pub names: Vec<String>,
    /// The image, where it is gone.
    pub image: Option<ImageId>,
    /// Layers that nothing else needed.
    pub layers: u64,
    /// Bytes of blobs that nothing else needed.
    pub blob_bytes: u64,
    /// Whether layers and blobs stay until the next prune, because something is being added now.
    pub left_for_prune: bool,
}

impl ImageStore {
    /// Removes what `image` means. By name, only that name goes while the image has another tag; by id, an image with
    /// several tags only goes with `force`.
    ///
    /// # Errors
    /// [`ImageError::Missing`]; [`ImageError::InUse`] where a box runs on it or `in_use` names it, with `force` too.
    pub fn remove(
        &self,
        image: &ImageRef,
        in_use: &BTreeSet<ImageId>,
        force: bool,
    ) -> Result<Removed, ImageError> {
        let found = self.find(image)?.ok_or_else(|| ImageError::Missing { image: image.to_string() })?;
        let names = names_of(self.place(), &found.id)?;
        let named = Reference::try_from(image).ok().map(|reference| whole_name(&reference));
        let other_tags = names.iter().filter(|name| is_tag(name) && Some(*name) != named.as_ref()).count();
        match named.filter(|named| names.contains(named)) {
            Some(named) if other_tags > 0 => {
                remove_name(self.place(), &named)?;
                sync_folder(&self.place().names())?;
                return Ok(Removed { names: vec![named], ..Removed::default() });
            }
            None if other_tags > 1 && !force => {
                return Err(ImageError::SeveralNames { image: image.to_string(), names });
            }
            _ => {}
        }
        if in_use.contains(&found.id) || !self.remove_record(&found.id)? {
            return Err(ImageError::InUse { image: image.to_string() });
        }
        let (orphans, left_for_prune) = self.try_sweep_orphans()?;
        Ok(Removed {
            names,
            image: Some(found.id),
            layers: orphans.layers,
            blob_bytes: orphans.blob_bytes,
            left_for_prune,
        })
    }

    /// Takes an image's record and names away; `false` where somebody holds it.
    pub(crate) fn remove_record(&self, id: &ImageId) -> Result<bool, ImageError> {
        let path = self.place().record(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(ImageError::io("open", &path)(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(ImageError::io("lock", &path)(errno)),
        }
        let names = names_of(self.place(), id)?;
        // The record first: a name that means nothing is found by nobody and swept by the next prune.
        remove_file(&path)?;
        sync_folder(&self.place().records())?;
        names.iter().try_for_each(|name| remove_name(self.place(), name))?;
        Ok(true)
    }

    /// Removes what nothing needs any more; whether it had to be left, because somebody adds.
    pub(crate) fn try_sweep_orphans(&self) -> Result<(Orphans, bool), ImageError> {
        match FileLock::try_exclusive(&self.place().lock())? {
            Some(_alone) => Ok((self.sweep_orphans(&BTreeSet::new())?, false)),
            None => Ok((Orphans::default(), true)),
        }
    }
}
