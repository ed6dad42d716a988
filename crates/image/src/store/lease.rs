//! Holding an image while it is used.

use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::lock::wait;
use super::record::read_record;
use super::{ImageStore, StoredImage};
use crate::ImageError;
use agentkernel_model::ImageId;

/// The time of the last use is no more exact than this: writing it each time would cost each start a disk write.
const USE_GRAIN: Duration = Duration::from_secs(60);

/// As long as its descriptor is open anywhere, the image stays. Whoever wants it to outlive this process lets the process
/// that lives as long as the box inherit the descriptor; dropping a lease only closes this copy.
#[derive(Debug)]
pub struct Lease(File);

impl Lease {
    /// The descriptor, to inherit.
    pub fn into_fd(self) -> OwnedFd {
        self.0.into()
    }
}

impl AsFd for Lease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a box is mounted from.
#[derive(Debug)]
pub struct Rootfs {
    /// Folders for overlayfs, lowest first, in the form that a mount with `userxattr` understands. At least one.
    pub layers: Vec<PathBuf>,
    /// Keeps them.
    pub lease: Lease,
}

impl ImageStore {
    /// The folders of an image, and the hold on them. Layers that aren't unpacked for this kind of ownership (the user got
    /// other subordinate ids, say) are unpacked now, from their blobs.
    ///
    /// # Errors
    /// [`ImageError::Missing`] where the image isn't here.
    pub fn rootfs(&self, id: &ImageId) -> Result<Rootfs, ImageError> {
        let missing = || ImageError::Missing { image: id.to_string() };
        let (image, lease) = self.lease(id)?.ok_or_else(missing)?;
        self.unpack_missing(&image)?;
        let kind = self.kind();
        let shown = image.shown_layers();
        let mut layers: Vec<PathBuf> =
            shown.iter().map(|layer| self.place().layer(kind, &layer.diff_id)).collect();
        if layers.is_empty() {
            layers.push(self.empty_layer()?);
        }
        Ok(Rootfs { layers, lease })
    }

    /// For an image without layers: overlayfs wants one.
    fn empty_layer(&self) -> Result<PathBuf, ImageError> {
        let path = self.place().kind(self.kind()).join(".empty");
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .map_err(ImageError::io("create", &path))?;
        Ok(path)
    }

    /// Holds an image; `None` where it isn't here.
    pub(crate) fn lease(&self, id: &ImageId) -> Result<Option<(StoredImage, Lease)>, ImageError> {
        let path = self.place().record(id);
        loop {
            let Some((image, file)) = read_record(&path)? else { return Ok(None) };
            wait(&file, FlockOperation::LockShared).map_err(ImageError::io("lock", &path))?;
            // Whoever removed it while we waited had the lock before us.
            let metadata = file.metadata().map_err(ImageError::io("look at", &path))?;
            if metadata.nlink() == 0 {
                continue;
            }
            note_use(&file, metadata.modified().ok(), &path);
            return Ok(Some((image, Lease(file))));
        }
    }
}

/// A use that can't be noted makes the image look older than it is: no reason to fail.
fn note_use(file: &File, last: Option<SystemTime>, path: &Path) {
    let is_recent = |last: SystemTime| last.elapsed().is_ok_and(|age| age < USE_GRAIN);
    if last.is_some_and(is_recent) {
        return;
    }
    let now = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    };
    if let Err(error) = rustix::fs::futimens(file, &now) {
        tracing::debug!(path = %path.display(), %error, "could not note that an image is used");
    }
}
