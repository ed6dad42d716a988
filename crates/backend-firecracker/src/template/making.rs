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
    _lock: File,
}

impl Making {
    pub(super) fn new(shelf: Shelf, lock: File) -> Self {
        Self { shelf, _lock: lock }
    }

    /// Whether the disk has room for a memory of so many bytes: a machine that shall run must not fail for a template.
    pub(super) fn has_room(&self, bytes: u64) -> io::Result<bool> {
        let disk = rustix::fs::statvfs(self.shelf.folder())?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize) > bytes.saturating_add(bytes / 4))
    }

    /// Takes the files out of the machine's folder, so that it may end at any time.
    pub(super) fn adopt(self, taken: &SnapshotFiles) -> io::Result<Adopted> {
        let new = self.shelf.folder().join(NEW);
        DirBuilder::new().mode(0o700).create(&new)?;
        let state = snapshot_file::adopt(&taken.state, &new.join(STATE))?;
        let memory = snapshot_file::adopt(&taken.memory, &new.join(MEMORY))?;
        Ok(Adopted { making: self, state, memory })
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
    /// Makes it one that others find, at once: this process may end at any time.
    pub(super) fn finish(self, key: Key) -> io::Result<()> {
        let note = Note {
            key,
            state_bytes: self.state.metadata()?.len(),
            memory_bytes: self.memory.metadata()?.len(),
            is_thin: false,
        };
        self.making.shelf.publish(&note)
    }
}
