//! One template while it is made: nobody else makes one, and what is there so far is found by the next who looks, should this
//! process be killed.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;

use super::key::Key;
use super::shelf::{MEMORY, NEW, Note, STATE, Shelf};
use crate::snapshot_file;
use crate::vmm::SnapshotFiles;

/// The right to make one, and the duty to leave nothing.
#[derive(Debug)]
pub(super) struct Making {
    shelf: Shelf,
    lock: File,
}

impl Drop for Making {
    /// Closing alone would not do: a child that was forked in this moment holds the same open file until it executes its
    /// program, and with it the lock (flock(2)).
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::debug!(%error, "could not unlock; closing the file does it");
        }
    }
}

impl Making {
    pub(super) fn new(shelf: Shelf, lock: File) -> Self {
        Self { shelf, lock }
    }

    /// Whether the disk has room for a memory of so many bytes: a machine that shall run must not fail for a template.
    pub(super) fn has_room(&self, bytes: u64) -> io::Result<bool> {
        let disk = rustix::fs::statvfs(self.shelf.folder())?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize) > bytes.saturating_add(bytes / 4))
    }

    /// Takes the files out of the machine's folder, so that it may end at any time. Where that fails they are gone.
    pub(super) fn adopt(self, taken: &SnapshotFiles) -> io::Result<Adopted> {
        let new = self.shelf.folder().join(NEW);
        let adopted = (|| {
            DirBuilder::new().mode(0o700).create(&new)?;
            let state = snapshot_file::adopt(&taken.state, &new.join(STATE))?;
            Ok((state, snapshot_file::adopt(&taken.memory, &new.join(MEMORY))?))
        })();
        match adopted {
            Ok((state, memory)) => Ok(Adopted { making: self, state, memory }),
            Err(error) => {
                snapshot_file::discard(taken);
                self.shelf.clear();
                Err(error)
            }
        }
    }
}

/// All of a template but its note.
#[derive(Debug)]
pub(super) struct Adopted {
    making: Making,
    state: File,
    memory: File,
}

impl Adopted {
    /// Makes it one that others find, at once, since this process may end at any time; or nothing.
    pub(super) fn finish(self, key: Key) -> io::Result<()> {
        let finished = (|| {
            let note = Note {
                key,
                state_bytes: self.state.metadata()?.len(),
                memory_bytes: self.memory.metadata()?.len(),
                is_thin: false,
            };
            self.making.shelf.publish(&note)
        })();
        finished.inspect_err(|_| self.making.shelf.clear())
    }
}
