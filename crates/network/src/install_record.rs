//! What was installed in this network namespace, kept across processes in the runtime folder. It says what to expect;
//! whether it is still so is asked of the kernel each time.

use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::NetworkError;
use super::range::Range;

/// One network namespace's record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct InstallRecord {
    /// The boxes' addresses.
    pub(super) range: Range,
    /// Digest of the rules' text.
    pub(super) script: u64,
    /// Digest of what the kernel then held; 0 while an installation is under way.
    pub(super) content: u64,
    /// The ruleset's generation when the foreign chains were last looked at.
    pub(super) generation: u32,
    /// The host's resolver that the stand-in's address leads to. Kept when new boxes need it no more: older ones do.
    pub(super) resolver: Option<Ipv4Addr>,
    /// Numbers of the interfaces that lead out.
    pub(super) uplinks: Vec<u32>,
    /// Interfaces whose IPv4 forwarding we switched on.
    pub(super) guarded_ipv4: Vec<String>,
    /// net.ipv4.ip_forward at that time.
    pub(super) router_ipv4: bool,
    /// Whether we switched IPv6 forwarding on.
    pub(super) guarded_ipv6: bool,
}

/// Where the record of the calling thread's network namespace is.
#[derive(Debug, Clone)]
pub(super) struct RecordPlace {
    folder: PathBuf,
    file: PathBuf,
}

impl RecordPlace {
    /// In `folder`, under the namespace's inode number.
    pub(super) fn of_this_namespace(folder: &Path) -> Result<Self, NetworkError> {
        // Of the thread: another thread may be in another namespace.
        let namespace = "/proc/thread-self/ns/net";
        let inode = fs::metadata(namespace).map_err(NetworkError::file("read", namespace))?.ino();
        Ok(Self { folder: folder.to_owned(), file: folder.join(format!("network-{inode}.json")) })
    }

    /// The record; None when there is none, or none that this version understands: then all is installed anew.
    pub(super) fn read(&self) -> Option<InstallRecord> {
        serde_json::from_slice(&fs::read(&self.file).ok()?).ok()
    }

    /// Replaces it in one step. Only under the lock: the new one is written under a name that all share.
    pub(super) fn write(&self, _held: &fs::File, record: &InstallRecord) -> Result<(), NetworkError> {
        let new = self.file.with_extension("new");
        let write = || {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(record).map_err(io::Error::other)?)?;
            fs::rename(&new, &self.file)
        };
        write().map_err(NetworkError::file("write", &self.file))
    }

    /// Makes the folder and waits until nobody else installs.
    pub(super) fn lock(&self) -> Result<fs::File, NetworkError> {
        let lock = || {
            let file = self.open_lock()?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(NetworkError::file("lock", &self.file))
    }

    /// The same without waiting; None where somebody else, of this process or another, has it.
    pub(super) fn try_lock(&self) -> Result<Option<fs::File>, NetworkError> {
        let lock = || {
            let file = self.open_lock()?;
            match file.try_lock() {
                Ok(()) => Ok(Some(file)),
                Err(fs::TryLockError::WouldBlock) => Ok(None),
                Err(fs::TryLockError::Error(error)) => Err(error),
            }
        };
        lock().map_err(NetworkError::file("lock", &self.file))
    }

    fn open_lock(&self) -> io::Result<fs::File> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.file.with_extension("lock");
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_that_start_at_the_same_time_write_one_record() {
        let folder = tempfile::tempdir().unwrap();
        let place = RecordPlace::of_this_namespace(folder.path()).unwrap();
        let record = InstallRecord {
            range: Range::choose(&[], None, false).unwrap(),
            script: 1,
            content: 2,
            generation: 3,
            resolver: None,
            uplinks: vec![4],
            guarded_ipv4: Vec::new(),
            router_ipv4: false,
            guarded_ipv6: false,
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Some(held) = place.try_lock().unwrap() {
                            place.write(&held, &record).unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(place.read(), Some(record));
        let held = place.lock().unwrap();
        assert!(place.try_lock().unwrap().is_none(), "another of this process has it");
        drop(held);
    }
}
