//! Leases: the note of a box without a record. The file is there before anything of the box is, locked by its owner for
//! as long as that lives; a lease that can be locked is the will of a dead owner.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::note::{self, Note, Noted};

/// A lease of this process.
#[derive(Debug)]
pub(crate) struct Lease {
    id: String,
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

impl Lease {
    /// A new one below `folder`, under a new id, of a box on the engine of `note`.
    pub(crate) fn take(folder: &Path, note: &Note) -> io::Result<Self> {
        let id = random_id()?;
        let path = folder.join(&id);
        let open = || File::options().write(true).create_new(true).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(folder)?;
                open()?
            }
            other => other?,
        };
        file.lock()?;
        // Between creation and lock it looked like a dead owner's, and recovery may have removed it: nothing hangs on it
        // yet, so another will do.
        if !path.exists() {
            return Self::take(folder, note);
        }
        (&file).write_all(&note.line()?)?;
        Ok(Self { id, path, file })
    }

    /// The id of the box.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What its owner noted; `None` where that died before anything was made.
    pub(crate) fn noted(&self) -> io::Result<Option<Noted>> {
        Noted::read(File::open(&self.path)?)
    }

    /// Notes that the engine is about to be asked for the container.
    pub(crate) fn ask(&self) -> io::Result<()> {
        note::ask(&self.file)
    }

    /// Notes that it has answered.
    pub(crate) fn answer(&self) -> io::Result<()> {
        note::answer(&self.file)
    }

    /// What another process needs to be its owner: the lock goes with the descriptor.
    pub(crate) fn into_parts(self) -> (String, OwnedFd) {
        (self.id, self.file.into())
    }

    /// One that another process has taken below `folder` under `id` and given away with its lock.
    pub(crate) fn adopt(folder: &Path, id: &str, file: OwnedFd) -> io::Result<Self> {
        let refuse = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if id.len() != 16 || !id.bytes().all(hex) {
            return refuse("the box's id is none");
        }
        let (path, file) = (folder.join(id), File::from(file));
        let (given, there) = (file.metadata()?, std::fs::symlink_metadata(&path)?);
        if (given.dev(), given.ino()) != (there.dev(), there.ino()) {
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

    /// Leaves it to recovery.
    pub(crate) fn abandon(self) {
        drop(self.file);
    }
}

/// The leases below `folder` whose owners are dead, now ours.
pub(crate) fn orphans(folder: &Path) -> io::Result<Vec<Lease>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        let file = match File::options().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => found.push(Lease { id, path, file }),
        }
    }
    Ok(found)
}

/// 16 random hex digits.
pub(crate) fn random_id() -> io::Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    fn note() -> Note {
        Note { address: Address::Unix("/x.sock".into()), engine: None, runtime: None, image: None }
    }

    #[test]
    fn what_was_noted_is_found_again() {
        let state = tempfile::tempdir().unwrap();
        let lease = Lease::take(state.path(), &note()).unwrap();
        lease.ask().unwrap();
        let noted = |lease: &Lease| lease.noted().unwrap().unwrap();
        assert_eq!(noted(&lease), Noted { note: note(), in_doubt: true });
        lease.answer().unwrap();
        lease.abandon();
        let found = orphans(state.path()).unwrap();
        assert_eq!(noted(&found[0]), Noted { note: note(), in_doubt: false });
    }

    #[test]
    fn a_lease_is_given_away_with_its_lock_and_only_as_itself() {
        let state = tempfile::tempdir().unwrap();
        let other = Lease::take(state.path(), &note()).unwrap();
        let (id, file) = Lease::take(state.path(), &note()).unwrap().into_parts();
        let copy = || file.try_clone().unwrap();
        assert!(Lease::adopt(state.path(), other.id(), copy()).is_err(), "another box's");
        assert!(Lease::adopt(state.path(), "../x", copy()).is_err());
        let adopted = Lease::adopt(state.path(), &id, copy()).unwrap();
        drop(file);
        assert!(orphans(state.path()).unwrap().is_empty(), "it has an owner");
        assert_eq!(adopted.noted().unwrap().unwrap().note, note());
        adopted.release().unwrap();
        other.release().unwrap();
    }

    #[test]
    fn only_dead_owners_are_found() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("leases");
        assert!(orphans(&folder).unwrap().is_empty());
        let alive = Lease::take(&folder, &note()).unwrap();
        let dead = Lease::take(&folder, &note()).unwrap();
        let dead_id = dead.id().to_owned();
        dead.abandon();
        let found = orphans(&folder).unwrap();
        assert_eq!(found.iter().map(Lease::id).collect::<Vec<_>>(), [dead_id]);
        assert!(orphans(&folder).unwrap().is_empty(), "somebody sees to it already");
        found.into_iter().for_each(|lease| lease.release().unwrap());
        alive.release().unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
}
