//! Blobs whose digest is known only when they are whole: what is imported, and documents that we hold in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::blobs::Blobs;
use crate::blobs::partial::{is_same_file, publish};
use crate::digest::Hasher;
use crate::{Digest, ImageError};

/// Tells apart what one process takes in at the same moment.
static COUNTER: AtomicU64 = AtomicU64::new(0);

impl Blobs {
    /// Keeps `bytes`, a small document.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let digest = Digest::of(bytes);
        if self.size(&digest)?.is_none() {
            self.take_in(bytes, bytes.len() as u64, "a document")?;
        }
        Ok(digest)
    }

    /// Keeps all that `source` has, at most `bytes_max`; its digest and size. `what` names it in an error.
    pub fn take_in(
        &self,
        mut source: impl Read,
        bytes_max: u64,
        what: &str,
    ) -> Result<(Digest, u64), ImageError> {
        self.make_dirs()?;
        let (mut file, path) = self.new_file()?;
        let taken = copy(&mut source, &mut file, bytes_max, what).and_then(|(digest, size)| {
            publish(&file, &path, &self.path(&digest))?;
            Ok((digest, size))
        });
        if taken.is_err() {
            remove_if_there(&path)?;
        }
        taken
    }

    /// A file of our own, locked, so that nobody prunes it.
    fn new_file(&self) -> Result<(File, PathBuf), ImageError> {
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = self.partial_dir().join(format!(".new-{}-{number}", std::process::id()));
            let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => file,
                // Of an earlier process, or of one in another process namespace, that had our id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(ImageError::io("create", &path)(error)),
            };
            flock(&file, FlockOperation::LockExclusive).map_err(ImageError::io("lock", &path))?;
            // Somebody who prunes may have been faster than the lock.
            if is_same_file(&file, &path).map_err(ImageError::io("look at", &path))? {
                return Ok((file, path));
            }
        }
    }
}

fn remove_if_there(path: &Path) -> Result<(), ImageError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ImageError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn copy(
    source: &mut impl Read,
    target: &mut File,
    bytes_max: u64,
    what: &str,
) -> Result<(Digest, u64), ImageError> {
    let failed =
        |action: &'static str, source: io::Error| ImageError::Io { action, path: what.into(), source };
    let (mut hasher, mut size) = (Hasher::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), size)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed("read", error)),
        };
        size += count as u64;
        if size > bytes_max {
            let what = what.to_owned();
            return Err(ImageError::TooLarge { what, found: size, unit: "bytes", limit: bytes_max, fix: "" });
        }
        hasher.update(&buffer[..count]);
        target.write_all(&buffer[..count]).map_err(|error| failed("keep", error))?;
    }
}
