//! flock(2), let go when dropped, or when the process dies however it dies.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::ImageError;

/// A held lock on a lock file, which is never removed.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Waits for the lock that others may hold at the same time.
    pub(crate) fn shared(path: &Path) -> Result<Self, ImageError> {
        let file = open(path).map_err(ImageError::io("open", path))?;
        wait(&file, FlockOperation::LockShared).map_err(ImageError::io("lock", path))?;
        Ok(Self(file))
    }

    /// Waits for the lock that nobody else holds.
    pub(crate) fn exclusive(path: &Path) -> Result<Self, ImageError> {
        let file = open(path).map_err(ImageError::io("open", path))?;
        wait(&file, FlockOperation::LockExclusive).map_err(ImageError::io("lock", path))?;
        Ok(Self(file))
    }

    /// `None` where somebody else holds the lock in any way.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>, ImageError> {
        let file = open(path).map_err(ImageError::io("open", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(ImageError::io("lock", path)(errno)),
        }
    }
}

impl Drop for FileLock {
    /// Closing alone would not do: a child that another thread has just forked holds the same open file until it
    /// executes its program, and with it the lock.
    fn drop(&mut self) {
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!(%error, "could not unlock; closing the file does it");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Goes on waiting after a signal.
pub(crate) fn wait(file: &File, operation: FlockOperation) -> Result<(), Errno> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
