//! The folder where templates lie, each in a folder of its own, which appears whole.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::making::Making;
use crate::removal::remove_folder;
use crate::snapshot_file;
use crate::sparse::{allocated_bytes, punch_zeroes};
use crate::start::make_private;
use crate::vmm::SnapshotFiles;

/// Held by who makes one, and by who looks for what a maker has left.
const LOCK: &str = "making.lock";
/// Where it is made.
pub(super) const NEW: &str = "making";

/// The parts of one.
const NOTE: &str = "template.json";
const NEW_NOTE: &str = "template.json.new";
pub(super) const STATE: &str = "state";
pub(super) const MEMORY: &str = "memory";

/// What is written about a template, last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub(super) key: Key,
    /// Sizes of the two files.
    pub(super) state_bytes: u64,
    pub(super) memory_bytes: u64,
    /// Whether what is zero in its memory takes no room on the disk any more.
    pub(super) is_thin: bool,
}

/// All templates of a user.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// The most that all of them may take of the disk.
    quota_bytes: u64,
}

impl Shelf {
    /// In the backend's own folder. `None` where there is no room for any.
    pub(super) fn of(backend_folder: &Path, quota_bytes: u64) -> Option<Self> {
        (quota_bytes > 0).then(|| Self { folder: backend_folder.join("templates"), quota_bytes })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The template of `key`, used as of now, and whether it is still to be made thin. One that is damaged, or another's, is
    /// removed.
    pub(super) fn find(&self, key: &Key) -> io::Result<Option<(SnapshotFiles, bool)>> {
        let folder = self.folder.join(key.name());
        let note = match File::options().read(true).write(true).open(folder.join(NOTE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => return Ok(None),
            other => other.and_then(|mut file| {
                let note: Note = serde_json::from_reader(&mut file)?;
                // For who has to decide which one goes.
                file.set_modified(SystemTime::now())?;
                Ok(note)
            }),
        };
        let files = SnapshotFiles { state: folder.join(STATE), memory: folder.join(MEMORY) };
        let sizes = || -> io::Result<_> {
            Ok((std::fs::metadata(&files.state)?.len(), std::fs::metadata(&files.memory)?.len()))
        };
        let whole = note.and_then(|note| {
            let is_it = note.key == *key && sizes()? == (note.state_bytes, note.memory_bytes);
            if is_it { Ok(!note.is_thin) } else { Err(io::Error::other("it is not whole, or another's")) }
        });
        match whole {
            Ok(is_thick) => Ok(Some((files, is_thick))),
            Err(error) => {
                tracing::warn!(%error, template = key.name(), "a template can't be used and is removed");
                self.remove(&key.name())?;
                Ok(None)
            }
        }
    }

    /// The right to make a template; `None` while somebody else makes one. What a maker that died has left goes.
    pub(super) fn begin(&self) -> io::Result<Option<Making>> {
        make_private(&self.folder)?;
        let Some(lock) = self.lock()? else { return Ok(None) };
        remove_folder(&self.folder.join(NEW))?;
        Ok(Some(Making::new(self.clone(), lock)))
    }

    fn lock(&self) -> io::Result<Option<File>> {
        let lock = File::options().create(true).truncate(false).write(true).open(self.folder.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Puts what lies in [`NEW`] into its place, once the least used have made room for it. To be called by its maker alone.
    pub(super) fn publish(&self, note: &Note) -> io::Result<()> {
        let new = self.folder.join(NEW);
        let needed = disk_bytes(&new)?;
        // One that is larger than all of them may be can still fit once it is thin.
        if needed <= self.quota_bytes {
            self.make_room(needed)?;
        }
        std::fs::write(new.join(NOTE), serde_json::to_vec(note)?)?;
        // Where one is there, somebody has found it damaged meanwhile or will: the next maker does it again.
        std::fs::rename(&new, self.folder.join(note.key.name()))
    }

    /// Removes what lies in [`NEW`]: its maker could not finish it.
    pub(super) fn clear(&self) {
        if let Err(error) = remove_folder(&self.folder.join(NEW)) {
            tracing::warn!(%error, "a template that could not be finished was left to the next maker");
        }
    }

    /// Gives what is zero in a template's memory back to the disk. Takes a while, with which no machine has to do; what one
    /// process leaves the next one does. Machines may start from it meanwhile: no byte of it changes. One that is larger
    /// than all of them may be even so is removed.
    pub(super) fn make_thin(&self, key: &Key) -> io::Result<()> {
        let folder = self.folder.join(key.name());
        let memory = match snapshot_file::open(&folder.join(MEMORY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        match memory.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => punch_zeroes(&memory)?,
        }
        let note = Note { is_thin: true, ..self.read_note(&key.name())? };
        let needed = disk_bytes(&folder)?;
        if needed > self.quota_bytes {
            tracing::debug!(needed, quota = self.quota_bytes, "a template is larger than all of them may be");
            return self.remove(&key.name());
        }
        self.make_room(0)?;
        let new = folder.join(NEW_NOTE);
        std::fs::write(&new, serde_json::to_vec(&note)?)?;
        std::fs::rename(&new, folder.join(NOTE))
    }

    /// Removes the longest unused until `needed` fits.
    fn make_room(&self, needed: u64) -> io::Result<()> {
        let mut all = Vec::new();
        for name in self.names()? {
            let folder = self.folder.join(&name);
            // One that somebody else removes meanwhile takes no room.
            let Ok(used) = std::fs::metadata(folder.join(NOTE)).and_then(|meta| meta.modified()) else {
                continue;
            };
            all.push((used, disk_bytes(&folder)?, name));
        }
        all.sort();
        let mut total: u64 = all.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, name) in all {
            if total.saturating_add(needed) <= self.quota_bytes {
                break;
            }
            self.remove(&name)?;
            total -= bytes;
        }
        Ok(())
    }

    /// Machines that came from it keep what they have.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        remove_folder(&self.folder.join(name))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name().into_string().unwrap_or_default();
            if name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read_note(&self, name: &str) -> io::Result<Note> {
        Ok(serde_json::from_slice(&std::fs::read(self.folder.join(name).join(NOTE))?)?)
    }
}

/// Removes what a maker that died has left, and templates that can't be used any more.
pub(crate) fn sweep(backend_folder: &Path) -> io::Result<Vec<String>> {
    let shelf = Shelf { folder: backend_folder.join("templates"), quota_bytes: 0 };
    if !shelf.folder.exists() {
        return Ok(Vec::new());
    }
    let mut removed = Vec::new();
    let Some(lock) = shelf.lock()? else { return Ok(removed) };
    if shelf.folder.join(NEW).exists() {
        remove_folder(&shelf.folder.join(NEW))?;
        removed.push("a template that was never finished".to_owned());
    }
    for name in shelf.names()? {
        let usable = shelf.read_note(&name).and_then(|note| note.key.is_of_another_boot().map(|old| !old));
        if !usable.unwrap_or(false) {
            shelf.remove(&name)?;
            removed.push(format!("template {name}"));
        }
    }
    drop(lock);
    Ok(removed)
}

/// What the files of a folder take of the disk.
fn disk_bytes(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        total += match entry?.metadata() {
            Ok(meta) => allocated_bytes(&meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(total)
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
