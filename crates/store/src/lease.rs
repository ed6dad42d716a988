//! Leases: the note of a box without a record. The file is there before anything of the box is, locked by its owner for
//! as long as that lives; a lease that can be locked is the will of a dead owner. What stands in it is the backend's.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A lease of this process.
#[derive(Debug)]
pub struct Lease {
    id: String,
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

impl Lease {
    /// A new one below `folder`, which is made where it is missing, under a new id.
    pub fn take(folder: &Path) -> io::Result<Self> {
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
            return Self::take(folder);
        }
        Ok(Self { id, path, file })
    }

    /// The id of the box: 16 lower-case hex digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Open for writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What another process needs to be its owner: the lock goes with the descriptor.
    pub fn into_parts(self) -> (String, OwnedFd) {
        (self.id, self.file.into())
    }

    /// One that another process has taken below `folder` under `id` and given away with its lock.
    pub fn adopt(folder: &Path, id: &str, file: OwnedFd) -> io::Result<Self> {
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

    /// The one at `path`, where its owner is dead: now ours. `None` where it has an owner, is gone, or has no name.
    pub fn claim(path: &Path) -> io::Result<Option<Self>> {
        let Some(id) = path.file_name().and_then(|name| name.to_str()) else { return Ok(None) };
        let file = match File::options().write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(Some(Self { id: id.to_owned(), path: path.to_owned(), file })),
        }
    }

    /// Ends it: nothing of the box is left.
    pub fn release(self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// 16 random lower-case hex digits.
pub fn random_id() -> io::Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
