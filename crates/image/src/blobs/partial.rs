//! A blob that isn't whole yet: one writer at a time, which goes on where the last one stopped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::blobs::Blobs;
use crate::digest::Hasher;
use crate::{Digest, ImageError};

/// What [`Blobs::begin`] found.
#[derive(Debug)]
pub enum Begun {
    /// It is here already, whole.
    Present,
    /// To be written from [`PartialBlob::done`] on.
    Partial(Box<PartialBlob>),
}

/// The one writer of a blob. Dropping it leaves what was written for the next.
#[derive(Debug)]
pub struct PartialBlob {
    /// Locked: closing it is what lets the next writer in.
    file: File,
    path: PathBuf,
    whole: PathBuf,
    digest: Digest,
    size: u64,
    done: u64,
    hasher: Hasher,
}

impl Blobs {
    /// Becomes the writer of a blob of `size` bytes. Waits while another process writes it; what that one leaves, whole or
    /// partial, is used. Reads through what is there already, to hash it.
    pub fn begin(&self, digest: &Digest, size: u64) -> Result<Begun, ImageError> {
        let path = self.partial_path(digest);
        loop {
            if self.is_present(digest, size)? {
                return Ok(Begun::Present);
            }
            self.make_dirs()?;
            let file = open_partial(&path).map_err(ImageError::io("create", &path))?;
            lock(&file).map_err(ImageError::io("lock", &path))?;
            // While we waited, the writer before us finished (and renamed it) or somebody pruned it. Our lock is then on a
            // file that has another name or none.
            if is_same_file(&file, &path).map_err(ImageError::io("look at", &path))? {
                if self.is_present(digest, size)? {
                    // Finished between our look and our making a new file.
                    std::fs::remove_file(&path).map_err(ImageError::io("remove", &path))?;
                    return Ok(Begun::Present);
                }
                let whole = self.path(digest);
                let partial =
                    PartialBlob { file, path, whole, digest: *digest, size, done: 0, hasher: Hasher::new() };
                return Ok(Begun::Partial(Box::new(partial.take_up()?)));
            }
        }
    }

    fn is_present(&self, digest: &Digest, size: u64) -> Result<bool, ImageError> {
        match self.size(digest)? {
            None => Ok(false),
            Some(found) if found == size => Ok(true),
            // What is here was verified, so the descriptor lies.
            Some(found) => Err(ImageError::WrongSize {
                what: format!("blob {digest}"),
                origin: "the store".to_owned(),
                expected: size,
                found: found.to_string(),
            }),
        }
    }
}

impl PartialBlob {
    /// Which.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many bytes it has when whole.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are here.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Hashes what an earlier writer left. More than there can be is dropped.
    fn take_up(mut self) -> Result<Self, ImageError> {
        let left = self.file.metadata().map_err(ImageError::io("look at", &self.path))?.len();
        if left > self.size {
            self.restart()?;
            return Ok(self);
        }
        let mut buffer = vec![0; if left == 0 { 0 } else { 256 << 10 }];
        while self.done < left {
            match self.file.read(&mut buffer).map_err(ImageError::io("read", &self.path))? {
                0 => break,
                count => {
                    self.hasher.update(&buffer[..count]);
                    self.done += count as u64;
                }
            }
        }
        Ok(self)
    }

    /// Appends. More than the blob's size is refused, and then nothing of `bytes` is written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        if bytes.len() as u64 > self.size - self.done {
            return Err(ImageError::WrongSize {
                what: format!("blob {}", self.digest),
                origin: "its source".to_owned(),
                expected: self.size,
                found: format!("more than {}", self.size),
            });
        }
        self.file.write_all(bytes).map_err(ImageError::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.done += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all that is here: the source can't continue, or what is here turned out to be wrong.
    pub fn restart(&mut self) -> Result<(), ImageError> {
        self.file.set_len(0).map_err(ImageError::io("write", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(ImageError::io("write", &self.path))?;
        self.done = 0;
        self.hasher = Hasher::new();
        Ok(())
    }

    /// Whether what is here hashes to the digest; the other digest where it doesn't. Meant for when all is here.
    pub fn verify(&self) -> Result<(), Digest> {
        let found = self.hasher.clone().finish();
        if self.done == self.size && found == self.digest { Ok(()) } else { Err(found) }
    }

    /// Makes it a blob, on disk for good. What isn't whole or doesn't hash to the digest is an error and is dropped.
    pub fn commit(self) -> Result<(), ImageError> {
        if let Err(found) = self.verify() {
            let (what, origin) = (format!("blob {}", self.digest), "its source".to_owned());
            let error = ImageError::WrongDigest { what, origin, expected: self.digest, found };
            self.discard()?;
            return Err(error);
        }
        publish(&self.file, &self.path, &self.whole)
    }

    /// Removes what is here.
    pub fn discard(self) -> Result<(), ImageError> {
        std::fs::remove_file(&self.path).map_err(ImageError::io("remove", &self.path))
    }
}

/// Syncs `file`, gives it its name among the whole ones and syncs that.
pub(crate) fn publish(file: &File, partial: &Path, whole: &Path) -> Result<(), ImageError> {
    file.sync_data().map_err(ImageError::io("write", partial))?;
    std::fs::rename(partial, whole).map_err(ImageError::io("rename", partial))?;
    let folder = whole.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(ImageError::io("write", folder))
}

fn open_partial(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

/// Whether `path` is still the name of `file`.
pub(crate) fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
