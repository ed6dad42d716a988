//! Leases: the note of a box without a record. The file is there before anything of the box is, locked by its owner for
//! as long as that lives; a lease that can be locked is the will of a dead owner.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A lease of this process.
#[derive(Debug)]
pub(crate) struct Lease {
    id: String,
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("leases")
}

impl Lease {
    /// A new one under a new id.
    pub(crate) fn take(state_dir: &Path) -> io::Result<Self> {
        let id = new_id()?;
        let path = folder(state_dir).join(&id);
        let open = || File::options().write(true).create_new(true).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(folder(state_dir))?;
                open()?
            }
            other => other?,
        };
        file.lock()?;
        let lease = Self { id, path, _file: file };
        // Between creation and lock it looked like a dead owner's, and recovery may have removed it: nothing hangs on it
        // yet, so another will do.
        if !lease.path.exists() {
            return Self::take(state_dir);
        }
        Ok(lease)
    }

    /// The id of the box.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Ends it: nothing of the box is left.
    pub(crate) fn release(self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Calls `clean` for the id of each dead owner's lease and removes the lease where that succeeds. One that fails keeps
/// its lease and doesn't keep others from being cleaned; the last failure is returned.
pub(crate) fn reclaim(state_dir: &Path, mut clean: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let mut result = Ok(());
    for entry in entries {
        if let Err(error) = reclaim_one(&entry?.path(), &mut clean) {
            result = Err(error);
        }
    }
    result
}

fn reclaim_one(path: &Path, clean: &mut impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let Some(id) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let file = match File::options().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    clean(id)?;
    Lease { id: id.to_owned(), path: path.to_owned(), _file: file }.release()
}

/// 16 random hex digits.
pub(crate) fn new_id() -> io::Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_owners_are_reclaimed() {
        let state = tempfile::tempdir().unwrap();
        let alive = Lease::take(state.path()).unwrap();
        let dead = Lease::take(state.path()).unwrap();
        let dead_id = dead.id().to_owned();
        drop(dead);
        let mut cleaned = Vec::new();
        reclaim(state.path(), |id| {
            cleaned.push(id.to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(cleaned, [dead_id]);
        assert!(alive.path.exists());
        alive.release().unwrap();
        assert_eq!(std::fs::read_dir(folder(state.path())).unwrap().count(), 0);
    }

    #[test]
    fn one_failure_does_not_keep_others() {
        let state = tempfile::tempdir().unwrap();
        let dead: Vec<_> = (0..3).map(|_| Lease::take(state.path()).unwrap().id().to_owned()).collect();
        let stuck = &dead[1];
        let result = reclaim(state.path(), |id| match id == stuck {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(()),
        });
        assert!(result.is_err());
        let left: Vec<_> = std::fs::read_dir(folder(state.path())).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].as_ref().unwrap().file_name().to_str(), Some(stuck.as_str()));
    }

    #[test]
    fn what_could_not_be_cleaned_keeps_its_lease() {
        let state = tempfile::tempdir().unwrap();
        drop(Lease::take(state.path()).unwrap());
        let failed = reclaim(state.path(), |_| Err(io::ErrorKind::PermissionDenied.into()));
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(folder(state.path())).unwrap().count(), 1);
    }
}
