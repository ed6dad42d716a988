//! Finding, making and removing snapshots.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkernel_model::SnapshotName;
use rustix::fs::{FlockOperation, flock};

use crate::crash::step;
use crate::folders::Folders;
use crate::locked::Lock;
use crate::place::{
    BACKEND_DIR, RECORD_FILE, RECORD_LOCK, aside, is_absent, make_private_dir, open_lock_file,
    read_record_file, replace_record_file,
};
use crate::snapshot::parse;
use crate::store::make_missing;
use crate::sweep::TEMPORARY;
use crate::{SnapshotRecord, Store, StoreError, Swept};

/// Held alone while the sizes are added up and a record is written: of two who would pass the limit together one is told.
const SIZE_LOCK: &str = ".size.lock";

/// The snapshots below one state folder. Cheap to clone: it holds paths only.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    root: PathBuf,
    patience: Duration,
}

impl Store {
    /// The snapshots beside the sandboxes.
    pub fn snapshots(&self) -> SnapshotStore {
        SnapshotStore { root: self.state_dir().join("snapshots"), patience: self.patience }
    }
}

impl SnapshotStore {
    fn folders(&self) -> Folders<'_> {
        Folders { root: &self.root }
    }

    fn folder(&self, name: &SnapshotName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Takes the name and makes an empty folder for a backend. Of several at once exactly one wins; the others get
    /// [`StoreError::SnapshotExists`].
    pub fn reserve(&self, name: &SnapshotName) -> Result<NewSnapshot, StoreError> {
        make_missing(&self.root)?;
        let exists = || StoreError::SnapshotExists { name: name.clone() };
        let folder = self.folder(name);
        if folder.join(RECORD_FILE).symlink_metadata().is_ok() {
            return Err(exists());
        }
        let lock = self.folders().make(name.as_str(), fill)?.ok_or_else(exists)?;
        Ok(NewSnapshot { store: self.clone(), folder, lock })
    }

    /// An empty folder for a backend that lives as long as what is returned.
    pub fn temporary(&self) -> Result<TemporaryFolder, StoreError> {
        make_missing(&self.root)?;
        let path = aside(&self.root, TEMPORARY)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(TEMPORARY).to_owned();
        let lock = self.folders().make(&name, fill)?;
        Ok(TemporaryFolder { store: self.clone(), folder: path, lock })
    }

    /// A whole snapshot, which can't be removed while what is returned lives.
    pub fn open(&self, name: &SnapshotName) -> Result<OpenSnapshot, StoreError> {
        let folder = self.folder(name);
        let lock = self.open_lock(name)?;
        let path = folder.join(RECORD_LOCK);
        let lock = Lock::try_share(lock).map_err(StoreError::io("lock", &path))?;
        let lock = lock.ok_or_else(|| StoreError::SnapshotBusy { name: name.clone() })?;
        // It may have been removed, and another made, while the lock was taken.
        if !lock.is_at(&path).map_err(StoreError::io("lock", &path))? {
            return Err(StoreError::SnapshotBusy { name: name.clone() });
        }
        Ok(OpenSnapshot { record: self.read(name)?, folder, _lock: lock })
    }

    fn open_lock(&self, name: &SnapshotName) -> Result<std::fs::File, StoreError> {
        let path = self.folder(name).join(RECORD_LOCK);
        open_lock_file(&path, false).map_err(|error| match is_absent(&error) {
            true => StoreError::SnapshotNotFound { name: name.clone() },
            false => StoreError::io("open", &path)(error),
        })
    }

    /// What is written down of a whole snapshot, without a lock.
    pub fn read(&self, name: &SnapshotName) -> Result<SnapshotRecord, StoreError> {
        let path = self.folder(name).join(RECORD_FILE);
        let bytes = read_record_file(&path)?;
        let bytes = bytes.ok_or_else(|| StoreError::SnapshotNotFound { name: name.clone() })?;
        parse(&bytes, name, &path)
    }

    /// All snapshots by name, each with its record or why that can't be read. One that is being taken is none yet.
    #[expect(clippy::type_complexity, reason = "a list of results is what it is")]
    pub fn list(&self) -> Result<Vec<(SnapshotName, Result<SnapshotRecord, StoreError>)>, StoreError> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            other => other.map_err(StoreError::io("read", &self.root))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read", &self.root))?;
            let name = entry.file_name().to_str().and_then(|text| text.parse::<SnapshotName>().ok());
            let Some(name) = name else { continue };
            match self.read(&name) {
                Err(StoreError::SnapshotNotFound { .. }) => {}
                read => found.push((name, read)),
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    /// What all snapshots take on disk.
    pub fn total_bytes(&self) -> Result<u64, StoreError> {
        let mut total = 0_u64;
        for (name, record) in self.list()? {
            // What can't be read takes room all the same.
            let bytes = match record {
                Ok(record) => record.bytes,
                Err(_) => allocated_bytes(&self.folder(&name))?,
            };
            total = total.saturating_add(bytes);
        }
        Ok(total)
    }

    /// Removes a snapshot, whole or damaged. Waits for those who restore from it; sandboxes that came from it stay.
    pub fn remove(&self, name: &SnapshotName) -> Result<(), StoreError> {
        let folder = self.folder(name);
        let path = folder.join(RECORD_LOCK);
        let file = self.open_lock(name)?;
        let lock = match Lock::try_take(file).map_err(StoreError::io("lock", &path))? {
            Ok(lock) => Some(lock),
            Err(file) => Lock::take_within(file, self.patience).map_err(StoreError::io("lock", &path))?,
        };
        let lock = lock.ok_or_else(|| StoreError::SnapshotBusy { name: name.clone() })?;
        let there = lock.is_at(&path).map_err(StoreError::io("lock", &path))?;
        if !there || folder.join(RECORD_FILE).symlink_metadata().is_err_and(|error| is_absent(&error)) {
            return Err(StoreError::SnapshotNotFound { name: name.clone() });
        }
        self.folders().discard(&folder, Some(lock))
    }

    /// Removes what those who died while they took or removed a snapshot left behind. One readdir where there is none.
    pub fn sweep(&self) -> Result<Swept, StoreError> {
        match self.root.symlink_metadata() {
            Err(error) if is_absent(&error) => Ok(Swept::default()),
            _ => self.folders().sweep(),
        }
    }
}

/// A snapshot that is being written. Dropped without [`Self::commit`] it is left to a sweep.
#[derive(Debug)]
pub struct NewSnapshot {
    store: SnapshotStore,
    folder: PathBuf,
    lock: Lock,
}

impl NewSnapshot {
    /// The backend's folder: private, empty at first.
    pub fn content(&self) -> PathBuf {
        self.folder.join(BACKEND_DIR)
    }

    /// Makes it whole: `record` gets its size and is written. Where all snapshots together would take more than
    /// `max_bytes`, it is removed and the error says so.
    pub fn commit(
        self,
        record: SnapshotRecord,
        max_bytes: Option<u64>,
    ) -> Result<SnapshotRecord, StoreError> {
        let bytes = allocated_bytes(&self.content())?;
        let record = SnapshotRecord { bytes, ..record };
        match self.write(&record, max_bytes) {
            Ok(()) => Ok(record),
            Err(error) => {
                if let Err(left) = self.discard() {
                    tracing::debug!(%left, "a half-made snapshot is left to the next sweep");
                }
                Err(error)
            }
        }
    }

    fn write(&self, record: &SnapshotRecord, max_bytes: Option<u64>) -> Result<(), StoreError> {
        let path = self.store.root.join(SIZE_LOCK);
        let alone = open_lock_file(&path, true).map_err(StoreError::io("open", &path))?;
        flock(&alone, FlockOperation::LockExclusive).map_err(StoreError::io("lock", &path))?;
        if let Some(max_bytes) = max_bytes {
            let needed_bytes = self.store.total_bytes()?.saturating_add(record.bytes);
            if needed_bytes > max_bytes {
                return Err(StoreError::SnapshotsFull { needed_bytes, max_bytes });
            }
        }
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: self.folder.join(RECORD_FILE),
            why: error.to_string(),
        };
        let mut bytes = serde_json::to_vec_pretty(record).map_err(damaged)?;
        bytes.push(b'\n');
        replace_record_file(&self.folder, &bytes)
    }

    /// Gives it up: its folder is removed.
    pub fn discard(self) -> Result<(), StoreError> {
        self.store.folders().discard(&self.folder, Some(self.lock))
    }
}

/// A folder that nobody finds by a name. Dropped without [`Self::discard`] it is left to a sweep.
#[derive(Debug)]
pub struct TemporaryFolder {
    store: SnapshotStore,
    folder: PathBuf,
    lock: Option<Lock>,
}

impl TemporaryFolder {
    /// The backend's folder: private, empty at first.
    pub fn content(&self) -> PathBuf {
        self.folder.join(BACKEND_DIR)
    }

    /// Removes it.
    pub fn discard(self) -> Result<(), StoreError> {
        self.store.folders().discard(&self.folder, self.lock)
    }
}

/// A whole snapshot, held.
#[derive(Debug)]
pub struct OpenSnapshot {
    record: SnapshotRecord,
    folder: PathBuf,
    _lock: Lock,
}

impl OpenSnapshot {
    /// What is written down of it.
    pub fn record(&self) -> &SnapshotRecord {
        &self.record
    }

    /// What the backend wrote.
    pub fn content(&self) -> PathBuf {
        self.folder.join(BACKEND_DIR)
    }
}

/// What a folder takes on disk with all in it. Links are not followed; what goes away meanwhile counts nothing.
pub fn allocated_bytes(folder: &Path) -> Result<u64, StoreError> {
    let mut bytes = 0;
    let mut todo = vec![folder.to_owned()];
    while let Some(path) = todo.pop() {
        let found = match path.symlink_metadata() {
            Err(error) if is_absent(&error) => continue,
            other => other.map_err(StoreError::io("look at", &path))?,
        };
        // stat(2): in units of 512 bytes.
        bytes += found.blocks() * 512;
        if found.is_dir() {
            let entries = std::fs::read_dir(&path).map_err(StoreError::io("read", &path))?;
            for entry in entries {
                todo.push(entry.map_err(StoreError::io("read", &path))?.path());
            }
        }
    }
    Ok(bytes)
}

/// Makes and fills the folder that will become a snapshot's, with its lock held.
fn fill(new: &Path) -> Result<Lock, StoreError> {
    make_private_dir(new).map_err(StoreError::io("make", new))?;
    step();
    let path = new.join(RECORD_LOCK);
    let file = open_lock_file(&path, true).map_err(StoreError::io("make", &path))?;
    step();
    let lock = Lock::try_take(file).map_err(StoreError::io("lock", &path))?;
    let lock = lock
        .map_err(|_| StoreError::io("lock", &path)(std::io::Error::from(std::io::ErrorKind::WouldBlock)))?;
    let content = new.join(BACKEND_DIR);
    make_private_dir(&content).map_err(StoreError::io("make", &content))?;
    step();
    Ok(lock)
}
