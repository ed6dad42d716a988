//! Clearing away what processes that died while creating or deleting left behind.

use crate::{Store, StoreError};

/// Prefix of folders that are being made.
pub(crate) const NEW: &str = ".new-";
/// Prefix of folders that are being deleted.
pub(crate) const TRASH: &str = ".trash-";
/// Prefix of folders that live as long as their maker.
pub(crate) const TEMPORARY: &str = ".temporary-";
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
    /// Removes half-made and half-deleted folders of sandboxes whose maker is gone. One readdir where there are none.
    pub fn sweep(&self) -> Result<Swept, StoreError> {
        self.folders().sweep()
    }
}
