//! The folder of the log and its files.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::AuditError;

/// The file that is written.
pub(crate) const CURRENT: &str = "audit.jsonl";
/// What files that were put aside begin with; the number of their last entry follows, in twenty digits.
const ASIDE_PREFIX: &str = "audit-";
const ASIDE_SUFFIX: &str = ".jsonl";
/// Held for each append, by whichever process.
const LOCK: &str = "lock";

/// Makes the folder where it isn't there, for its owner alone.
pub(crate) fn make_folder(folder: &Path) -> Result<(), AuditError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Ok(()) => Ok(()),
        Err(error) => Err(AuditError::io("make the folder of", folder)(error)),
    }
}

/// Opens or makes the lock file.
pub(crate) fn open_lock(folder: &Path) -> Result<File, AuditError> {
    let path = folder.join(LOCK);
    private(OpenOptions::new().read(true).write(true).create(true).truncate(false))
        .open(&path)
        .map_err(AuditError::io("open the lock of", &path))
}

/// The lock file, for who only reads; `None` where there is none yet.
pub(crate) fn open_lock_to_read(folder: &Path) -> Result<Option<File>, AuditError> {
    let path = folder.join(LOCK);
    match private(OpenOptions::new().read(true)).open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::io("open the lock of", &path)(error)),
    }
}

/// Opens the file that is written; makes it where `create`.
pub(crate) fn open_current(folder: &Path, create: bool) -> io::Result<File> {
    private(OpenOptions::new().read(true).append(true).create_new(create)).open(folder.join(CURRENT))
}

/// Opens a file for reading; links are not followed.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().read(true)).open(path)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
}

/// Which file it is and how long: enough to see that somebody else has written or put it aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// The file that is written, as it is now; `None` where there is none.
pub(crate) fn look(path: &Path) -> io::Result<Option<(Identity, u64)>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some((identity(&metadata), metadata.len()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// From a file's metadata.
pub(crate) fn identity(metadata: &std::fs::Metadata) -> Identity {
    Identity { device: metadata.dev(), inode: metadata.ino() }
}

/// The files that were put aside, oldest first.
pub(crate) fn aside(folder: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(AuditError::io("list", folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(AuditError::io("list", folder))?;
        if entry.file_name().to_str().is_some_and(is_aside) {
            found.push(entry.path());
        }
    }
    // The numbers have the same length.
    found.sort();
    Ok(found)
}

fn is_aside(name: &str) -> bool {
    let digits = name.strip_prefix(ASIDE_PREFIX).and_then(|rest| rest.strip_suffix(ASIDE_SUFFIX));
    digits.is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// The name of a file whose last entry has this number.
pub(crate) fn aside_name(last: u64) -> String {
    format!("{ASIDE_PREFIX}{last:020}{ASIDE_SUFFIX}")
}

/// The lock, held. Processes hold it for one append, which is some microseconds.
pub(crate) struct Held<F: AsFd>(F);

impl<F: AsFd> Held<F> {
    /// Takes it.
    pub(crate) fn take(file: F, operation: FlockOperation) -> io::Result<Self> {
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl<F: AsFd> Drop for Held<F> {
    fn drop(&mut self) {
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!(%error, "could not unlock the audit log; closing the file does it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_files_that_were_put_aside() {
        assert!(is_aside(&aside_name(0)) && is_aside(&aside_name(u64::MAX)));
        assert!(
            !is_aside(CURRENT) && !is_aside("audit-1.jsonl") && !is_aside("audit-0000000000000000001x.jsonl")
        );
        assert!(aside_name(9) < aside_name(10));
    }
}
