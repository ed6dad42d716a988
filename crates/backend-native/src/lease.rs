//! Leases: the note of a box without a record. The file is there before anything of the box is, locked by its owner for
//! as long as that lives; a lease that can be locked is the will of a dead owner.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A lease of this process.
#[derive(Debug)]
pub(crate) struct Lease {
    id: String,
    path: PathBuf,
    /// Holds the lock.
    file: File,
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
        let lease = Self { id, path, file };
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

    /// What another process needs to be its owner: the lock goes with the descriptor.
    pub(crate) fn into_parts(self) -> (String, OwnedFd) {
        (self.id, self.file.into())
    }

    /// One that another process has taken under `id` and given away with its lock.
    pub(crate) fn adopt(state_dir: &Path, id: &str, file: OwnedFd) -> io::Result<Self> {
        let refuse = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if id.len() != 16 || !id.bytes().all(hex) {
            return refuse("the box's id is none");
        }
        let (path, file) = (folder(state_dir).join(id), File::from(file));
        let (given, noted) = (file.metadata()?, std::fs::symlink_metadata(&path)?);
        if (given.dev(), given.ino()) != (noted.dev(), noted.ino()) {
            return refuse("the box's lease is another's");
        }
        Ok(Self { id: id.to_owned(), path, file })
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
    Lease { id: id.to_owned(), path: path.to_owned(), file }.release()
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
    fn a_lease_is_given_away_with_its_lock_and_only_as_itself() {
        let state = tempfile::tempdir().unwrap();
        let other = Lease::take(state.path()).unwrap();
        let (id, file) = Lease::take(state.path()).unwrap().into_parts();
        let copy = || file.try_clone().unwrap();
        assert!(Lease::adopt(state.path(), other.id(), copy()).is_err(), "another box's");
        assert!(Lease::adopt(state.path(), "../leases", copy()).is_err());
        assert!(Lease::adopt(state.path(), "0123456789abcdef", copy()).is_err(), "nobody's");
        let adopted = Lease::adopt(state.path(), &id, copy()).unwrap();
        drop(file);
        reclaim(state.path(), |id| panic!("{id} has an owner")).unwrap();
        adopted.release().unwrap();
        other.release().unwrap();
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
