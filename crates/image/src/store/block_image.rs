//! An image as one file that machines have as a block device: made when first asked for, once for all processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agentkernel_model::ImageId;

use super::files::{fresh_name, names_in, remove_file, sync_folder};
use super::lock::FileLock;
use super::{ImageStore, Lease, StoredImage};
use crate::block::{BlockPlan, LayerStream};
use crate::{Digest, ImageError};

/// How files begin that are being written.
const NEW_PREFIX: &str = ".new-";

/// How files end that are whole.
const WHOLE_SUFFIX: &str = ".erofs";

/// A file system image that any number of machines may have read-only at once.
#[derive(Debug)]
pub struct BlockImage {
    /// The file: EROFS, whole, synced, never changed.
    pub path: PathBuf,
    /// Its size, a multiple of 4096.
    pub bytes: u64,
    /// Keeps it, as it keeps the image.
    pub lease: Lease,
}

impl ImageStore {
    /// The file of an image, and the hold on it. Where it isn't made yet it is made from the layers' archives, which must
    /// be here; while another process makes it, waits and takes that one's. Kinds of ownership make no difference: owners
    /// are in the file as the image has them.
    ///
    /// # Errors
    /// [`ImageError::Missing`] where the image isn't here, [`ImageError::LayersDropped`] where its archives aren't,
    /// [`ImageError::Quota`] where the file can't be within the limit; [`ImageError::Layer`] as unpacking has it.
    pub fn block_image(&self, id: &ImageId) -> Result<BlockImage, ImageError> {
        let missing = || ImageError::Missing { image: id.to_string() };
        let (image, lease) = self.lease(id)?.ok_or_else(missing)?;
        let path = self.place().block(id);
        let bytes = match size(&path)? {
            Some(bytes) => bytes,
            None => self.make_block_image(&image, &path)?,
        };
        Ok(BlockImage { path, bytes, lease })
    }

    fn make_block_image(&self, image: &StoredImage, path: &Path) -> Result<u64, ImageError> {
        let folder = self.place().blocks();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(ImageError::io("create", &folder))?;
        let _making = FileLock::exclusive(&folder.join(format!(".lock-{}", &image.id.hex()[..2])))?;
        if let Some(bytes) = size(path)? {
            return Ok(bytes);
        }
        let begun = std::time::Instant::now();
        let mut plan = BlockPlan::of(self.layer_streams(image)?, self.settings().unpack)?;
        let bytes = plan.bytes();
        // Archives of what is unpacked may go for it, but not before it is whole: without them it can't be made again.
        let needed = bytes.saturating_sub(self.droppable_bytes(image)?);
        self.make_room(needed, Some(&image.id), &image.blobs().collect())?;
        // Now nothing half-made is swept.
        let adding = self.begin_adding()?;
        let new = folder.join(fresh_name(NEW_PREFIX));
        let written = write(&mut plan, &new, image).and_then(|()| {
            std::fs::rename(&new, path).map_err(ImageError::io("rename", &new))?;
            sync_folder(&folder)
        });
        if let Err(error) = written {
            // It can stay: the next sweep gets it. What went wrong first is what matters.
            if let Err(error) = remove_file(&new) {
                tracing::warn!(%error, "a block image that could not be made is left for the next sweep");
            }
            return Err(error);
        }
        drop(adding);
        let room = self.make_room(0, Some(&image.id), &BTreeSet::new());
        if room.is_err() {
            remove_file(path)?;
        }
        room?;
        tracing::debug!(image = %image.id.short(), bytes, seconds = begun.elapsed().as_secs_f64(), "made a block image");
        Ok(bytes)
    }

    /// Bytes of the archives that an image can do without.
    fn droppable_bytes(&self, image: &StoredImage) -> Result<u64, ImageError> {
        let mut bytes = 0;
        let blobs: BTreeMap<_, _> = image.layers.iter().map(|layer| (layer.blob, layer)).collect();
        for (blob, layer) in blobs {
            if self.unpacked(&layer.diff_id)?.is_some() {
                bytes += self.blobs().size(&blob)?.unwrap_or(0);
            }
        }
        Ok(bytes)
    }

    /// Opened now: a blob that goes to make room meanwhile can be read all the same.
    fn layer_streams(&self, image: &StoredImage) -> Result<Vec<LayerStream<File>>, ImageError> {
        let dropped = || ImageError::LayersDropped { image: image.id.to_string() };
        let stream = |layer: &super::StoredLayer| {
            let blob = self.blobs().open(&layer.blob)?.ok_or_else(dropped)?;
            let blob_bytes =
                blob.metadata().map_err(ImageError::io("look at", &self.blobs().path(&layer.blob)))?;
            Ok(LayerStream { blob, blob_bytes: blob_bytes.len(), diff_id: layer.diff_id })
        };
        image.shown_layers().into_iter().map(stream).collect()
    }

    /// Bytes of all block images.
    pub(crate) fn block_bytes(&self) -> Result<u64, ImageError> {
        let folder = self.place().blocks();
        let mut bytes = 0;
        for name in names_in(&folder)?.iter().filter(|name| name.ends_with(WHOLE_SUFFIX)) {
            bytes += size(&folder.join(name))?.unwrap_or(0);
        }
        Ok(bytes)
    }

    /// Those that were never whole. Only while nobody adds.
    pub(crate) fn sweep_half_made_blocks(&self) -> Result<(), ImageError> {
        self.remove_blocks(|name| name.starts_with(NEW_PREFIX))
    }

    /// Those whose image isn't in `kept`. Only while nobody adds.
    pub(crate) fn sweep_blocks(&self, kept: &BTreeSet<String>) -> Result<(), ImageError> {
        self.remove_blocks(|name| name.strip_suffix(WHOLE_SUFFIX).is_some_and(|id| !kept.contains(id)))
    }

    fn remove_blocks(&self, goes: impl Fn(&str) -> bool) -> Result<(), ImageError> {
        let folder = self.place().blocks();
        let names = names_in(&folder)?;
        names.iter().filter(|name| goes(name)).try_for_each(|name| remove_file(&folder.join(name)))
    }
}

/// Writes and syncs; nobody writes to it again.
fn write(plan: &mut BlockPlan<File>, path: &Path, image: &StoredImage) -> Result<(), ImageError> {
    let failed = |action| ImageError::io(action, path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("create"))?;
    let space = rustix::fs::fstatvfs(&file).map_err(ImageError::io("look at", path))?;
    // Nine tenths of what is free, so that no image fills the disk.
    if plan.bytes() > (space.f_bavail.saturating_mul(space.f_frsize) / 10).saturating_mul(9) {
        return Err(failed("write")(io::Error::from(io::ErrorKind::StorageFull)));
    }
    plan.write(&file, path, uuid(&image.id))?;
    // For the user that a machine runs as, who is given it in its own folder; nobody else gets as far as here.
    file.set_permissions(Permissions::from_mode(0o444)).map_err(failed("write"))?;
    file.sync_all().map_err(failed("write"))
}

/// The same for the same image: the beginning of its digest, marked as made by our own rule (RFC 9562, version 8).
fn uuid(id: &ImageId) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&Digest::from(id).bytes()[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

fn size(path: &Path) -> Result<Option<u64>, ImageError> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ImageError::io("look at", path)(error)),
    }
}
