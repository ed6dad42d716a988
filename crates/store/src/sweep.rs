//! Clearing away what processes that died while creating or deleting left behind.

use agentkernel_model::SandboxName;
use rustix::fs::{FlockOperation, flock};

use crate::locked::Lock;
use crate::place::{RECORD_FILE, RECORD_LOCK, is_absent, open_lock_file};
use crate::removal::remove_tree;
use crate::{Store, StoreError};

/// Prefix of folders that are being made.
pub(crate) const NEW: &str = ".new-";
/// Prefix of folders that are being deleted.
pub(crate) const TRASH: &str = ".trash-";
/// Held shared by whoever makes a folder, and alone by a sweep.
pub(crate) const MAKING_LOCK: &str = ".making.lock";

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Folders removed, by name.
    pub removed: Vec<String>,
    /// Folders that could not be removed. They are tried again next time.
    pub failed: Vec<StoreError>,
}

impl Store {
    /// Removes half-made and half-deleted folders whose maker is gone. One readdir where there are none.
    pub fn sweep(&self) -> Result<Swept, StoreError> {
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

    fn leftovers(&self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let entries = std::fs::read_dir(&self.sandboxes).map_err(StoreError::io("read", &self.sandboxes))?;
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read", &self.sandboxes))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let half_made = name.parse::<SandboxName>().is_ok()
                && entry.path().join(RECORD_FILE).symlink_metadata().is_err_and(|error| is_absent(&error));
            if half_made || name.starts_with(NEW) || name.starts_with(TRASH) {
                found.push(name);
            }
        }
        Ok(found)
    }

    fn sweep_one(&self, name: &str) -> Result<bool, StoreError> {
        let folder = self.sandboxes.join(name);
        if name.starts_with(NEW) {
            let making = self.open_making_lock()?;
            match flock(&making, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                // Somebody is making a sandbox this moment: the next sweep will do.
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
                Err(error) => return Err(StoreError::io("lock", &self.sandboxes)(error)),
            }
            return remove_tree(&folder).map(|()| true);
        }
        if !name.starts_with(TRASH) {
            return self.discard_if_dead(&folder);
        }
        let lock_path = folder.join(RECORD_LOCK);
        let _lock = match open_lock_file(&lock_path, false) {
            Ok(file) => match Lock::try_take(file).map_err(StoreError::io("lock", &lock_path))? {
                Ok(lock) => Some(lock),
                Err(_) => return Ok(false),
            },
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(StoreError::io("open", &lock_path)(error)),
        };
        remove_tree(&folder).map(|()| true)
    }
}
