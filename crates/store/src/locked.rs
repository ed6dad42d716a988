//! A record that this process, and no other, may change.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::folders::Folders;
use crate::place::{BACKEND_DIR, FILES_DIR, OWNER_LOCK, make_private_dir, open_lock_file, write_record};
use crate::removal::remove_tree;
use crate::{SandboxRecord, StoreError};

/// A held flock(2). Released when dropped, or when the process dies however it dies.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// `None` where another holds it.
    pub(crate) fn try_take(file: File) -> io::Result<Result<Self, File>> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Ok(Self::signed(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Err(file)),
            Err(error) => Err(error.into()),
        }
    }

    /// The same, shared with others who only read.
    pub(crate) fn try_share(file: File) -> io::Result<Option<Self>> {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits at most `patience`; `None` when it has passed. flock(2) knows no deadline, so a thread waits; after a
    /// missed deadline it lets the lock go as soon as it gets it.
    pub(crate) fn take_within(file: File, patience: Duration) -> io::Result<Option<Self>> {
        let (send, receive) = mpsc::sync_channel(0);
        std::thread::Builder::new().name("record lock".to_owned()).spawn(move || {
            let locked = loop {
                match flock(&file, FlockOperation::LockExclusive) {
                    Err(rustix::io::Errno::INTR) => continue,
                    other => break other,
                }
            };
            // Nobody listens after the deadline: the file is closed and with it the lock let go.
            drop(send.send(locked.map(|()| file)));
        })?;
        match receive.recv_timeout(patience) {
            Ok(locked) => Ok(Some(Self::signed(locked?))),
            Err(_) => Ok(None),
        }
    }

    /// Writes our process id into it, for the other's message. Best effort: on a full disk the lock holds all the same.
    fn signed(mut file: File) -> Self {
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        if let Err(error) = written {
            tracing::debug!(%error, "could not write the process id into a lock file");
        }
        Self(file)
    }

    /// Whether `path` still names the file that is locked: its folder may have been deleted, and made anew, meanwhile.
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let held = self.0.metadata()?;
        match std::fs::symlink_metadata(path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
            Err(error) if crate::place::is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    /// Closing alone would not do: a child that another thread has just forked holds the same open file until it
    /// executes its program, and with it the lock (flock(2)).
    fn drop(&mut self) {
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!(%error, "could not unlock; closing the file does it");
        }
    }
}

/// The process id that the holder of a lock file wrote into it.
pub(crate) fn holder(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The sign that the `run` which made an ephemeral sandbox is alive; dropped with it.
#[derive(Debug)]
pub struct Ownership {
    _lock: Lock,
}

/// Exclusive use of one record; ends when dropped.
#[derive(Debug)]
pub struct LockedRecord {
    record: SandboxRecord,
    sandboxes: PathBuf,
    folder: PathBuf,
    lock: Lock,
}

impl LockedRecord {
    pub(crate) fn new(record: SandboxRecord, sandboxes: PathBuf, folder: PathBuf, lock: Lock) -> Self {
        Self { record, sandboxes, folder, lock }
    }

    /// As it was last written.
    pub fn record(&self) -> &SandboxRecord {
        &self.record
    }

    /// Changes it on disk, durably, and then here. On failure both are as before.
    pub fn update(&mut self, change: impl FnOnce(&mut SandboxRecord)) -> Result<(), StoreError> {
        let mut changed = self.record.clone();
        change(&mut changed);
        if changed != self.record {
            write_record(&self.folder, &changed)?;
            self.record = changed;
        }
        Ok(())
    }

    /// Takes the sign that this process owns an ephemeral sandbox. Waits only for those who look whether there is an
    /// owner, which is short: who holds a fresh record's lock is the only one who could own it.
    pub fn own(&self) -> Result<Ownership, StoreError> {
        let path = self.folder.join(OWNER_LOCK);
        let file = open_lock_file(&path, true).map_err(StoreError::io("open", &path))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Ownership { _lock: Lock(file) }),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(StoreError::io("lock", &path)(error)),
            }
        }
    }

    /// Empties the backend's folder: for a backend that can't take up what a dead process left half done.
    pub fn reset_backend_dir(&self) -> Result<(), StoreError> {
        let path = self.folder.join(BACKEND_DIR);
        if path.symlink_metadata().is_ok() {
            remove_tree(&path)?;
        }
        make_private_dir(&path).map_err(StoreError::io("make", &path))
    }

    /// Where the content of the `n`-th entry of [`SandboxRecord::files`] waits.
    pub fn staged_path(&self, n: usize) -> PathBuf {
        self.folder.join(FILES_DIR).join(n.to_string())
    }

    /// Copies `content` to [`Self::staged_path`] of `n`, readable by the owner only.
    pub fn stage(&self, n: usize, content: &mut dyn Read) -> Result<(), StoreError> {
        let folder = self.folder.join(FILES_DIR);
        match make_private_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("make", &folder)(error));
            }
            _ => {}
        }
        let path = self.staged_path(n);
        let mut file = private_file(&path).map_err(StoreError::io("write", &path))?;
        io::copy(content, &mut file).and_then(|_| file.sync_all()).map_err(StoreError::io("write", &path))
    }

    /// Removes what [`Self::stage`] wrote.
    pub fn unstage(&self) -> Result<(), StoreError> {
        remove_tree(&self.folder.join(FILES_DIR))
    }

    /// Removes the sandbox's folder. It vanishes from the list in one step; a removal of its content that is cut short
    /// is taken up again by [`crate::Store::sweep`].
    pub fn delete(self) -> Result<(), StoreError> {
        Folders { root: &self.sandboxes }.discard(&self.folder, Some(self.lock))
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}
