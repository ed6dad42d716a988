//! One daemon for one state directory: who holds the lock is it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

/// The lock, held until it is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct DaemonLock {
    _file: File,
}

/// Who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its process; `None` where it has not said so yet.
    pub(crate) pid: Option<u32>,
}

impl DaemonLock {
    /// Takes it; where another process has it, says which.
    pub(crate) fn take(state_dir: &Path) -> io::Result<Result<Self, Holder>> {
        let path = path(state_dir);
        let folder = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = open(&path, true)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Err(read_holder(&mut file))),
            Err(errno) => return Err(errno.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Ok(Self { _file: file }))
    }

    /// Who holds it; `None` where nobody does.
    pub(crate) fn holder(state_dir: &Path) -> io::Result<Option<Holder>> {
        let mut file = match open(&path(state_dir), false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(read_holder(&mut file))),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Blocks until nobody holds it.
    pub(crate) fn wait_until_free(state_dir: &Path) -> io::Result<()> {
        let file = match open(&path(state_dir), false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockShared))?;
        Ok(())
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("daemon/lock")
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let pid = match file.take(20).read_to_string(&mut text) {
        Ok(_) => text.trim().parse().ok(),
        Err(_) => None,
    };
    Holder { pid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_the_others_learn_who() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(DaemonLock::holder(dir.path()).unwrap(), None);
        let held = DaemonLock::take(dir.path()).unwrap().unwrap();
        let us = Holder { pid: Some(std::process::id()) };
        assert_eq!(DaemonLock::take(dir.path()).unwrap().unwrap_err(), us);
        assert_eq!(DaemonLock::holder(dir.path()).unwrap(), Some(us));
        drop(held);
        DaemonLock::wait_until_free(dir.path()).unwrap();
        assert_eq!(DaemonLock::holder(dir.path()).unwrap(), None);
        assert!(DaemonLock::take(dir.path()).unwrap().is_ok());
    }
}
