//! Named folders below one root, each with a lock and a record: made whole or not at all, and cleared away where their
//! maker has died. Sandboxes and snapshots are kept so.

use std::fs::File;
use std::io;
use std::path::Path;

use agentkernel_model::SandboxName;
use rustix::fs::{FlockOperation, flock};

use crate::StoreError;
use crate::crash::step;
use crate::locked::Lock;
use crate::place::{RECORD_FILE, RECORD_LOCK, aside, is_absent, open_lock_file, sync_dir};
use crate::removal::remove_tree;
use crate::sweep::{MAKING_LOCK, NEW, Swept, TEMPORARY, TRASH};

/// The folders below one root.
#[derive(Clone, Copy)]
pub(crate) struct Folders<'a> {
    pub(crate) root: &'a Path,
}

impl Folders<'_> {
    /// Makes the folder `name`, filled, and returns the lock that `fill` took in it. `None` where the name is taken: of
    /// several at once exactly one gets it.
    pub(crate) fn make(
        self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<Lock, StoreError>,
    ) -> Result<Option<Lock>, StoreError> {
        // Held shared until the rename: a sweep, which takes it alone, never sees a live half-made folder.
        let making = self.open_making_lock()?;
        flock(&making, FlockOperation::LockShared).map_err(StoreError::io("lock", self.root))?;
        let new = aside(self.root, NEW)?;
        let made = fill(&new).and_then(|lock| Ok(self.move_into_place(&new, name)?.then_some(lock)));
        if !matches!(made, Ok(Some(_)))
            && let Err(left) = remove_tree(&new)
        {
            tracing::debug!(%left, "a half-made folder is left to the next sweep");
        }
        made
    }

    /// rename(2) onto a folder that isn't empty fails, and one of ours never is: that makes it exclusive. `false` where
    /// the name is taken.
    fn move_into_place(self, new: &Path, name: &str) -> Result<bool, StoreError> {
        let folder = self.root.join(name);
        for _ in 0..16 {
            match std::fs::rename(new, &folder) {
                Ok(()) => {
                    step();
                    return sync_dir(self.root).map(|()| true);
                }
                Err(error) if taken(&error) => {}
                Err(error) => return Err(StoreError::io("make", &folder)(error)),
            }
            // A folder without a record is nobody's: put it away and try again.
            if folder.join(RECORD_FILE).symlink_metadata().is_ok() || !self.discard_if_dead(&folder)? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Moves a folder without a record to the trash unless somebody holds its lock.
    pub(crate) fn discard_if_dead(self, folder: &Path) -> Result<bool, StoreError> {
        let Some(lock) = lock_of_dead(folder)? else { return Ok(false) };
        if folder.join(RECORD_FILE).symlink_metadata().is_ok() {
            return Ok(false);
        }
        self.discard(folder, lock).map(|()| true)
    }

    /// Removes a folder, whose lock is held by the caller. It vanishes from the list in one step; a removal of its content
    /// that is cut short is taken up again by a sweep. Fine if it is gone.
    pub(crate) fn discard(self, folder: &Path, lock: Option<Lock>) -> Result<(), StoreError> {
        let trash = aside(self.root, TRASH)?;
        match std::fs::rename(folder, &trash) {
            Ok(()) => step(),
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(StoreError::io("remove", folder)(error)),
        }
        sync_dir(self.root)?;
        let removed = remove_tree(&trash);
        // The lock is held to here, so that no sweep works on the same tree at the same time.
        drop(lock);
        removed
    }

    pub(crate) fn open_making_lock(self) -> Result<File, StoreError> {
        let path = self.root.join(MAKING_LOCK);
        open_lock_file(&path, true).map_err(StoreError::io("open", &path))
    }

    /// Removes half-made and half-deleted folders whose maker is gone. One readdir where there are none.
    pub(crate) fn sweep(self) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        for name in self.leftovers()? {
            match self.sweep_one(&name) {
                Ok(true) => swept.removed.push(name),
                Ok(false) => {}
                Err(error) => swept.failed.push(error),
            }
        }
        Ok(swept)
    }

    fn leftovers(self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let entries = std::fs::read_dir(self.root).map_err(StoreError::io("read", self.root))?;
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read", self.root))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // All names here have the form of sandboxes' names.
            let half_made = name.parse::<SandboxName>().is_ok()
                && entry.path().join(RECORD_FILE).symlink_metadata().is_err_and(|error| is_absent(&error));
            if half_made || [NEW, TRASH, TEMPORARY].iter().any(|prefix| name.starts_with(prefix)) {
                found.push(name);
            }
        }
        Ok(found)
    }

    fn sweep_one(self, name: &str) -> Result<bool, StoreError> {
        let folder = self.root.join(name);
        if name.starts_with(NEW) {
            let making = self.open_making_lock()?;
            match flock(&making, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                // Somebody is making one this moment: the next sweep will do.
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
                Err(error) => return Err(StoreError::io("lock", self.root)(error)),
            }
            return remove_tree(&folder).map(|()| true);
        }
        if !name.starts_with(TRASH) && !name.starts_with(TEMPORARY) {
            return self.discard_if_dead(&folder);
        }
        let Some(lock) = lock_of_dead(&folder)? else { return Ok(false) };
        let removed = remove_tree(&folder);
        drop(lock);
        removed.map(|()| true)
    }
}

/// The lock of a folder whose maker is gone, or that it has none; `None` where somebody holds it.
#[expect(clippy::option_option, reason = "held by another, not there, and taken are three answers")]
fn lock_of_dead(folder: &Path) -> Result<Option<Option<Lock>>, StoreError> {
    let path = folder.join(RECORD_LOCK);
    match open_lock_file(&path, false) {
        Ok(file) => Ok(Lock::try_take(file).map_err(StoreError::io("lock", &path))?.ok().map(Some)),
        Err(error) if is_absent(&error) => Ok(Some(None)),
        Err(error) => Err(StoreError::io("open", &path)(error)),
    }
}

fn taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}
