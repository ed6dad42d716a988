//! Finding, making and locking records.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentkernel_model::SandboxName;
use rustix::fs::{FlockOperation, flock};

use crate::crash::step;
use crate::folders::Folders;
use crate::locked::{Lock, LockedRecord, holder};
use crate::place::{
    BACKEND_DIR, OWNER_LOCK, RECORD_FILE, RECORD_LOCK, is_absent, make_private_dir, open_lock_file,
    read_record, write_record,
};
use crate::{SandboxRecord, StoreError};

/// A folder of the state folder that is always empty: what is mounted over the state folder where a box would see it.
pub const EMPTY_DIR: &str = "empty";

/// How long a verb waits for another process's verb on the same sandbox.
const PATIENCE: Duration = Duration::from_secs(60);

/// The records below one state folder. Cheap to clone: it holds paths only.
#[derive(Debug, Clone)]
pub struct Store {
    state_dir: PathBuf,
    pub(crate) sandboxes: PathBuf,
    pub(crate) patience: Duration,
}

impl Store {
    /// Opens the state folder, making it (mode 0700) where it is missing.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let sandboxes = state_dir.join("sandboxes");
        if std::fs::symlink_metadata(&sandboxes).is_err() {
            make_state_dir(state_dir)?;
            make_missing(&state_dir.join(EMPTY_DIR))?;
            make_missing(&sandboxes)?;
        }
        let owner = std::fs::symlink_metadata(&sandboxes).map_err(StoreError::io("open", &sandboxes))?.uid();
        let own = rustix::process::geteuid().as_raw();
        if owner != own {
            return Err(StoreError::ForeignOwner { path: sandboxes, owner, own });
        }
        Ok(Self { state_dir: state_dir.to_owned(), sandboxes, patience: PATIENCE })
    }

    /// The same, but [`Self::lock`] waits at most `patience` (60 s by default).
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The state folder.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The folder that belongs to `name`'s backend; it is there while the record is.
    pub fn backend_dir(&self, name: &SandboxName) -> PathBuf {
        self.folder(name).join(BACKEND_DIR)
    }

    pub(crate) fn folder(&self, name: &SandboxName) -> PathBuf {
        self.sandboxes.join(name.as_str())
    }

    /// Writes a new record and returns it locked. Of several at once exactly one wins; the others get
    /// [`StoreError::AlreadyExists`].
    pub fn create(&self, name: &SandboxName, record: SandboxRecord) -> Result<LockedRecord, StoreError> {
        let folder = self.folder(name);
        if read_record(&folder, name).is_ok_and(|found| found.is_some()) {
            return Err(StoreError::AlreadyExists { name: name.clone() });
        }
        match self.folders().make(name.as_str(), |new| fill(new, &record))? {
            Some(lock) => Ok(LockedRecord::new(record, self.sandboxes.clone(), folder, lock)),
            None => Err(StoreError::AlreadyExists { name: name.clone() }),
        }
    }

    pub(crate) fn folders(&self) -> Folders<'_> {
        Folders { root: &self.sandboxes }
    }

    /// Locks a record, waiting for other processes' verbs to end.
    pub fn lock(&self, name: &SandboxName) -> Result<LockedRecord, StoreError> {
        let path = self.folder(name).join(RECORD_LOCK);
        let deadline = std::time::Instant::now() + self.patience;
        loop {
            let file = self.open_record_lock(name)?;
            let patience = deadline.saturating_duration_since(std::time::Instant::now());
            let lock = match Lock::try_take(file).map_err(StoreError::io("lock", &path))? {
                Ok(lock) => Some(lock),
                Err(file) => Lock::take_within(file, patience).map_err(StoreError::io("lock", &path))?,
            };
            let Some(lock) = lock else {
                return Err(StoreError::Busy { name: name.clone(), owner_pid: holder(&path) });
            };
            if let Some(locked) = self.admit(name, lock)? {
                return Ok(locked);
            }
        }
    }

    /// Locks a record; `None` at once where another process holds it.
    pub fn try_lock(&self, name: &SandboxName) -> Result<Option<LockedRecord>, StoreError> {
        let path = self.folder(name).join(RECORD_LOCK);
        loop {
            let file = self.open_record_lock(name)?;
            let Ok(lock) = Lock::try_take(file).map_err(StoreError::io("lock", &path))? else {
                return Ok(None);
            };
            if let Some(locked) = self.admit(name, lock)? {
                return Ok(Some(locked));
            }
        }
    }

    fn open_record_lock(&self, name: &SandboxName) -> Result<std::fs::File, StoreError> {
        let folder = self.folder(name);
        let path = folder.join(RECORD_LOCK);
        match open_lock_file(&path, false) {
            Ok(file) => Ok(file),
            Err(error) if is_absent(&error) => {
                // The lock file alone may have been deleted by hand; a record without one gets a new one.
                if read_record(&folder, name)?.is_none() {
                    return Err(StoreError::NotFound { name: name.clone() });
                }
                open_lock_file(&path, true).map_err(StoreError::io("open", &path))
            }
            Err(error) => Err(StoreError::io("open", &path)(error)),
        }
    }

    /// The record behind a lock that was just taken; `None` where the folder was exchanged while we waited.
    fn admit(&self, name: &SandboxName, lock: Lock) -> Result<Option<LockedRecord>, StoreError> {
        let folder = self.folder(name);
        let path = folder.join(RECORD_LOCK);
        if !lock.is_at(&path).map_err(StoreError::io("lock", &path))? {
            return Ok(None);
        }
        let record =
            read_record(&folder, name)?.ok_or_else(|| StoreError::NotFound { name: name.clone() })?;
        Ok(Some(LockedRecord::new(record, self.sandboxes.clone(), folder, lock)))
    }

    /// A snapshot, without a lock.
    pub fn read(&self, name: &SandboxName) -> Result<SandboxRecord, StoreError> {
        read_record(&self.folder(name), name)?.ok_or_else(|| StoreError::NotFound { name: name.clone() })
    }

    /// Whether the `run` that made an ephemeral sandbox is still alive.
    pub fn has_owner(&self, name: &SandboxName) -> Result<bool, StoreError> {
        let path = self.folder(name).join(OWNER_LOCK);
        let file = match open_lock_file(&path, false) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        // Shared, so that two who ask at once don't take each other for the owner.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                flock(&file, FlockOperation::Unlock).map(|()| false).map_err(StoreError::io("unlock", &path))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(StoreError::io("lock", &path)(error)),
        }
    }

    /// All sandboxes by name, each with its record or why that can't be read.
    #[expect(clippy::type_complexity, reason = "a list of results is what it is")]
    pub fn list(&self) -> Result<Vec<(SandboxName, Result<SandboxRecord, StoreError>)>, StoreError> {
        let mut found = Vec::new();
        for name in self.names()? {
            match read_record(&self.folder(&name), &name) {
                Ok(None) => {}
                Ok(Some(record)) => found.push((name, Ok(record))),
                Err(error) => found.push((name, Err(error))),
            }
        }
        Ok(found)
    }

    /// The names of all sandboxes, sorted; no record is read.
    pub fn names(&self) -> Result<Vec<SandboxName>, StoreError> {
        let mut names = Vec::new();
        let entries = std::fs::read_dir(&self.sandboxes).map_err(StoreError::io("read", &self.sandboxes))?;
        for entry in entries {
            let entry = entry.map_err(StoreError::io("read", &self.sandboxes))?;
            names.extend(entry.file_name().to_str().and_then(|text| text.parse::<SandboxName>().ok()));
        }
        names.sort();
        Ok(names)
    }
}

/// Which writing of a record is there: equal stamps of one name are the same record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordStamp {
    inode: u64,
    changed: (i64, i64),
}

/// How coarse the kernel's file times may be, with room to spare: it stamps files by its tick.
const COARSEST_TICK: Duration = Duration::from_millis(100);

impl RecordStamp {
    /// Whether the record has been as it is for so long that a later writing can't have the same stamp.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(self.changed.0), u64::try_from(self.changed.1)) else {
            return false;
        };
        let changed = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanos);
        // A clock that was set back tells nothing.
        now.duration_since(changed).is_ok_and(|age| age > COARSEST_TICK)
    }
}

impl Store {
    /// The stamp of a record as it is now, for who has read it before and doesn't want to read it again; `None` where there
    /// is no such sandbox. A record is always replaced by a new file (see the crate's description).
    pub fn stamp(&self, name: &SandboxName) -> Result<Option<RecordStamp>, StoreError> {
        let path = self.folder(name).join(RECORD_FILE);
        match std::fs::symlink_metadata(&path) {
            Ok(found) => {
                Ok(Some(RecordStamp { inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()) }))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("look at", &path)(error)),
        }
    }
}

/// Makes and fills the folder that will become a sandbox's, with its lock held.
fn fill(new: &Path, record: &SandboxRecord) -> Result<Lock, StoreError> {
    make_private_dir(new).map_err(StoreError::io("make", new))?;
    step();
    let lock_path = new.join(RECORD_LOCK);
    let file = open_lock_file(&lock_path, true).map_err(StoreError::io("make", &lock_path))?;
    step();
    let lock = match Lock::try_take(file).map_err(StoreError::io("lock", &lock_path))? {
        Ok(lock) => lock,
        Err(_) => return Err(StoreError::Busy { name: record.name.clone(), owner_pid: holder(&lock_path) }),
    };
    let backend = new.join(BACKEND_DIR);
    make_private_dir(&backend).map_err(StoreError::io("make", &backend))?;
    step();
    write_record(new, record)?;
    Ok(lock)
}

fn make_state_dir(state_dir: &Path) -> Result<(), StoreError> {
    if let Some(parent) = state_dir.parent() {
        std::fs::create_dir_all(parent).map_err(StoreError::io("make", parent))?;
    }
    make_missing(state_dir)
}

pub(crate) fn make_missing(folder: &Path) -> Result<(), StoreError> {
    match make_private_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::io("make", folder)(error))
        }
        _ => Ok(()),
    }
}
