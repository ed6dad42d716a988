//! What the guest has open.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// Something open.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A regular file.
    File(OwnedFd),
    /// A folder, for one reader at a time: where it stands is the descriptor's.
    Folder(Mutex<OwnedFd>),
}

impl Opened {
    pub(crate) fn file(&self) -> Result<&OwnedFd, Errno> {
        match self {
            Self::File(file) => Ok(file),
            Self::Folder(_) => Err(Errno::ISDIR),
        }
    }

    pub(crate) fn folder(&self) -> Result<MutexGuard<'_, OwnedFd>, Errno> {
        match self {
            Self::File(_) => Err(Errno::NOTDIR),
            Self::Folder(folder) => Ok(folder.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// All of it, by the numbers that the guest was given.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    by_number: HashMap<u64, Arc<Opened>>,
}

impl Handles {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for `opened`.
    pub(crate) fn give(&self, opened: Opened) -> u64 {
        let mut table = self.lock();
        table.last += 1;
        let number = table.last;
        table.by_number.insert(number, Arc::new(opened));
        number
    }

    /// What has the number; `EBADF` where nothing has.
    pub(crate) fn get(&self, number: u64) -> Result<Arc<Opened>, Errno> {
        self.lock().by_number.get(&number).map(Arc::clone).ok_or(Errno::BADF)
    }

    /// Closes it.
    pub(crate) fn take_back(&self, number: u64) -> Result<(), Errno> {
        self.lock().by_number.remove(&number).map(drop).ok_or(Errno::BADF)
    }
}
