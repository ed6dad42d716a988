//! The folder of blobs, and what is whole in it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::blobs::partial::is_same_file;
use crate::{Digest, ImageError};

/// The blobs below one `images` folder. Makes nothing until something is written.
#[derive(Debug, Clone)]
pub struct Blobs {
    images: PathBuf,
}

/// What [`Blobs::prune_partials`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct PrunedPartials {
    /// How many.
    pub files: u64,
    /// Their bytes in all.
    pub bytes: u64,
}

impl Blobs {
    /// In `images`.
    pub fn new(images: &Path) -> Self {
        Self { images: images.to_owned() }
    }

    pub(crate) fn whole_dir(&self) -> PathBuf {
        self.images.join("blobs/sha256")
    }

    pub(crate) fn partial_dir(&self) -> PathBuf {
        self.images.join("partial")
    }

    pub(crate) fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.partial_dir().join(digest.hex())
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.whole_dir().join(digest.hex())
    }

    /// Makes the folders, for their owner alone.
    pub(crate) fn make_dirs(&self) -> Result<(), ImageError> {
        for path in [self.whole_dir(), self.partial_dir()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(ImageError::io("create", &path))?;
        }
        Ok(())
    }

    /// The size of a blob in bytes; `None` where it isn't here.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, ImageError> {
        let path = self.path(digest);
        match path.symlink_metadata() {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ImageError::io("look at", &path)(error)),
        }
    }

    /// Opens a blob; `None` where it isn't here. It was verified when it came; a reader that can, verifies again.
    pub fn open(&self, digest: &Digest) -> Result<Option<File>, ImageError> {
        let path = self.path(digest);
        match OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ImageError::io("read", &path)(error)),
        }
    }

    /// Reads a small blob whole and verifies it. One that was damaged since (a failing disk) is removed and counts as not
    /// here, so that it is fetched again.
    pub fn read(&self, digest: &Digest, bytes_max: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(file) = self.open(digest)? else { return Ok(None) };
        let path = self.path(digest);
        let found = file.metadata().map_err(ImageError::io("look at", &path))?.len();
        if found > bytes_max {
            let what = format!("blob {digest}");
            return Err(ImageError::TooLarge { what, found, unit: "bytes", limit: bytes_max, fix: "" });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(found).unwrap_or(0));
        file.take(bytes_max).read_to_end(&mut bytes).map_err(ImageError::io("read", &path))?;
        if Digest::of(&bytes) != *digest {
            tracing::warn!(%digest, "a stored blob was damaged and is removed");
            self.remove(digest)?;
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    /// All whole blobs and their sizes in bytes. Files that aren't blobs are passed over.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, ImageError> {
        let mut found = Vec::new();
        for name in names(&self.whole_dir())? {
            let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else { continue };
            if let Some(size) = self.size(&digest)? {
                found.push((digest, size));
            }
        }
        Ok(found)
    }

    /// Removes a blob; how many bytes that frees. Who removes has made sure that no image needs it.
    pub fn remove(&self, digest: &Digest) -> Result<u64, ImageError> {
        let size = self.size(digest)?.unwrap_or(0);
        let path = self.path(digest);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(ImageError::io("remove", &path)(error)),
        }
    }

    /// Bytes of all that isn't whole.
    pub fn partial_bytes(&self) -> Result<u64, ImageError> {
        let folder = self.partial_dir();
        let sizes = names(&folder)?
            .into_iter()
            .filter_map(|name| Some(folder.join(name).symlink_metadata().ok()?.len()));
        Ok(sizes.sum())
    }

    /// Removes what isn't whole, isn't being written now and was last written at least `minimum_age` ago.
    pub fn prune_partials(&self, minimum_age: Duration) -> Result<PrunedPartials, ImageError> {
        let mut pruned = PrunedPartials::default();
        for name in names(&self.partial_dir())? {
            let path = self.partial_dir().join(name);
            if let Some(bytes) = prune_partial(&path, minimum_age).map_err(ImageError::io("remove", &path))? {
                pruned.files += 1;
                pruned.bytes += bytes;
            }
        }
        Ok(pruned)
    }
}

/// Names in `folder` that are text; none where there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, ImageError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ImageError::io("list", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(ImageError::io("list", folder))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Its size, where it was removed.
fn prune_partial(path: &Path, minimum_age: Duration) -> io::Result<Option<u64>> {
    let file = match OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !is_same_file(&file, path)? {
        return Ok(None);
    }
    let metadata = file.metadata()?;
    // A clock that went back makes it look young: it stays for the next time.
    let age = metadata.modified()?.elapsed().unwrap_or_default();
    if age < minimum_age {
        return Ok(None);
    }
    std::fs::remove_file(path)?;
    Ok(Some(metadata.len()))
}
