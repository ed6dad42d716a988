//! The files of one sandbox folder, and the two ways they are written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agentkernel_model::SandboxName;
use rustix::fs::OFlags;

use crate::crash::step;
use crate::record::{parse, to_bytes};
use crate::{SandboxRecord, StoreError};

pub(crate) const RECORD_FILE: &str = "record.json";
pub(crate) const RECORD_LOCK: &str = "record.lock";
pub(crate) const OWNER_LOCK: &str = "owner.lock";
pub(crate) const BACKEND_DIR: &str = "backend";
pub(crate) const FILES_DIR: &str = "files";

/// A record is some kilobytes; more is not one of ours.
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// Makes one folder with mode 0700.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

/// Opens a lock file, making it where `create`.
pub(crate) fn open_lock_file(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

/// Reads and checks the record in `folder`; `None` where there is none.
pub(crate) fn read_record(folder: &Path, name: &SandboxName) -> Result<Option<SandboxRecord>, StoreError> {
    let path = folder.join(RECORD_FILE);
    match read_record_file(&path)? {
        Some(bytes) => parse(&bytes, name, &path).map(Some),
        None => Ok(None),
    }
}

/// The bytes of a record; `None` where there is none.
pub(crate) fn read_record_file(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(StoreError::io("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    Ok(Some(bytes))
}

/// Replaces the record in `folder` so that a reader sees the old or the new one whole, power loss included.
pub(crate) fn write_record(folder: &Path, record: &SandboxRecord) -> Result<(), StoreError> {
    let path = folder.join(RECORD_FILE);
    replace_record_file(folder, &to_bytes(record, &path)?)
}

/// The same for any record.
pub(crate) fn replace_record_file(folder: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let path = folder.join(RECORD_FILE);
    let temporary = folder.join("record.json.tmp");
    // Only the lock's holder writes here; what a dead one left is overwritten.
    write_synced(&temporary, bytes).map_err(StoreError::io("write", &temporary))?;
    step();
    std::fs::rename(&temporary, &path).map_err(StoreError::io("write", &path))?;
    step();
    sync_dir(folder)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    step();
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes renames in `folder` durable.
pub(crate) fn sync_dir(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync", folder))
}

/// Not there, or not there as a folder.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A name for something that isn't a sandbox yet or any more.
pub(crate) fn aside(sandboxes: &Path, prefix: &str) -> Result<PathBuf, StoreError> {
    let mut random = [0u8; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(StoreError::io("choose a name in", sandboxes))?;
    Ok(sandboxes.join(format!("{prefix}{:016x}", u64::from_le_bytes(random))))
}
