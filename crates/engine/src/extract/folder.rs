//! Writing entries below one folder of the host.
//!
//! Each path is resolved by the kernel below that folder's descriptor (openat2(2): BENEATH, NO_SYMLINKS, NO_MAGICLINKS), so
//! no link, whoever made it and whenever, leads out. A file that is there is unlinked and made anew, never written
//! through: it may be a link, or another name of a file elsewhere. Everything is the caller's own; the caller's umask
//! holds; folders stay open to their owner, so that what was copied can be deleted.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::entry::c_string;
use super::unpack::Sink;
use super::{Entry, EntryPath, ExtractError};

/// How often the kernel is asked again where it saw a rename underway (openat2(2), EAGAIN): somebody may rename without
/// end.
const MAX_TRIES: usize = 10_000;

/// A folder that receives entries.
pub struct Folder {
    root: OwnedFd,
    /// The last parent used: entries of one folder follow each other.
    recent: Option<(EntryPath, OwnedFd)>,
    /// Device and inode of the files made here: a hard link is only made to exactly these.
    made: HashMap<EntryPath, (u64, u64)>,
}

impl Folder {
    /// Writes below the folder that `root` is open on.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, recent: None, made: HashMap::new() }
    }

    /// How many bytes may be written: nine tenths of what is free, so that no box can fill the host's disk.
    pub fn room(&self) -> io::Result<u64> {
        let space = rustix::fs::fstatvfs(&self.root)?;
        Ok((space.f_bavail.saturating_mul(space.f_frsize) / 10).saturating_mul(9))
    }

    fn open_below(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let name = if path.is_empty() { c".".to_owned() } else { c_string(path) };
        let mut last = Errno::AGAIN;
        for _ in 0..MAX_TRIES {
            match rustix::fs::openat2(&self.root, &name, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(again @ (Errno::AGAIN | Errno::INTR)) => last = again,
                other => return other,
            }
        }
        Err(last)
    }

    /// Opens the folder that `path` is in, making what is missing.
    fn parent<'a>(&mut self, path: &'a EntryPath) -> Result<(&OwnedFd, &'a [u8]), ExtractError> {
        let Some((parent, name)) = path.split() else {
            return Err(ExtractError::InTheWay { path: path.clone(), why: "it is the destination itself" });
        };
        let known = self.recent.as_ref().is_some_and(|(recent, _)| *recent == parent);
        if !known {
            let opened = match self.open_below(parent.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => {
                    self.make_parents(&parent)?;
                    self.open_below(parent.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY)
                }
                other => other,
            };
            let handle = opened.map_err(|errno| refused(&parent, errno))?;
            self.recent = Some((parent, handle));
        }
        match &self.recent {
            Some((_, handle)) => Ok((handle, name)),
            None => Err(ExtractError::InTheWay { path: path.clone(), why: "its folder vanished" }),
        }
    }

    /// A stream needn't name the folders it uses.
    fn make_parents(&self, path: &EntryPath) -> Result<(), ExtractError> {
        let mut done: Vec<u8> = Vec::new();
        for part in path.components() {
            let parent = self
                .open_below(&done, OFlags::PATH | OFlags::DIRECTORY)
                .map_err(|errno| refused(path, errno))?;
            match rustix::fs::mkdirat(&parent, c_string(part), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(refused(path, errno)),
            }
            if !done.is_empty() {
                done.push(b'/');
            }
            done.extend_from_slice(part);
        }
        Ok(())
    }
}

impl Sink for Folder {
    fn directory(&mut self, path: &EntryPath, mode: u32) -> Result<(), ExtractError> {
        if path.is_root() {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        let name = c_string(name);
        match rustix::fs::mkdirat(parent, &name, Mode::from_raw_mode(mode | 0o700)) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => match rustix::fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_folder(stat.st_mode) => Ok(()),
                Ok(_) => Err(ExtractError::InTheWay { path: path.clone(), why: "it is not a folder" }),
                Err(errno) => Err(refused(path, errno)),
            },
            Err(errno) => Err(refused(path, errno)),
        }
    }

    fn file(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), ExtractError> {
        let (parent, name) = self.parent(path)?;
        let name = c_string(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = replacing(parent, &name, path, || {
            rustix::fs::openat(parent, &name, flags, Mode::from_raw_mode(entry.mode))
        })?;
        let mut file = File::from(handle);
        let written = write_all(content, &mut file, size).and_then(|()| set_time(&file, entry.modified));
        if let Err(source) = written {
            // Half a file is worse than none. That it can't be removed changes nothing about the error.
            if let Err(error) = rustix::fs::unlinkat(parent, &name, AtFlags::empty()) {
                tracing::debug!(%path, %error, "half a file is left");
            }
            return Err(ExtractError::Write { path: path.clone(), source });
        }
        let stat = rustix::fs::fstat(&file).map_err(|errno| refused(path, errno))?;
        self.made.insert(path.clone(), (stat.st_dev, stat.st_ino));
        Ok(())
    }

    fn symlink(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), ExtractError> {
        let (parent, name) = self.parent(path)?;
        let name = c_string(name);
        let target = c_string(target);
        replacing(parent, &name, path, || rustix::fs::symlinkat(&target, parent, &name))
    }

    fn hard_link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<(), ExtractError> {
        let made = self.made.get(target).copied();
        let gone =
            || ExtractError::InTheWay { path: target.clone(), why: "it was exchanged during the copy" };
        let Some((target_parent, target_name)) = target.split() else { return Err(gone()) };
        let from = self
            .open_below(target_parent.as_bytes(), OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|errno| refused(&target_parent, errno))?;
        let target_name = c_string(target_name);
        let stat = rustix::fs::statat(&from, &target_name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| refused(target, errno))?;
        if made != Some((stat.st_dev, stat.st_ino)) {
            return Err(gone());
        }
        let (parent, name) = self.parent(path)?;
        let name = c_string(name);
        // Without AT_SYMLINK_FOLLOW: a link put there meanwhile would be linked itself, not what it points to.
        replacing(parent, &name, path, || {
            rustix::fs::linkat(&from, &target_name, parent, &name, AtFlags::empty())
        })?;
        if let Some(made) = made {
            self.made.insert(path.clone(), made);
        }
        Ok(())
    }
}

/// Makes something new under `name`, taking away a file or link (never a folder) that is there.
fn replacing<T>(
    parent: impl AsFd,
    name: &std::ffi::CStr,
    path: &EntryPath,
    make: impl Fn() -> Result<T, Errno>,
) -> Result<T, ExtractError> {
    // Somebody else may put another there between the two steps; not for ever.
    for _ in 0..16 {
        match make() {
            Err(Errno::EXIST) => {}
            other => return other.map_err(|errno| refused(path, errno)),
        }
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => {
                return Err(ExtractError::InTheWay { path: path.clone(), why: "it is a folder" });
            }
            Err(errno) => return Err(refused(path, errno)),
        }
    }
    Err(ExtractError::InTheWay { path: path.clone(), why: "something else keeps making it" })
}

fn write_all(content: &mut dyn Read, file: &mut File, size: u64) -> io::Result<()> {
    let written = io::copy(content, file)?;
    match written == size {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its content ended early")),
    }
}

fn set_time(file: &File, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    match rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time }) {
        // A time that the file system can't hold is not worth a file.
        Ok(()) | Err(Errno::INVAL | Errno::OVERFLOW | Errno::RANGE) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn is_folder(mode: u32) -> bool {
    rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Directory
}

fn refused(path: &EntryPath, errno: Errno) -> ExtractError {
    match errno {
        Errno::LOOP => {
            ExtractError::InTheWay { path: path.clone(), why: "a symbolic link, which is not followed" }
        }
        Errno::NOTDIR => {
            ExtractError::InTheWay { path: path.clone(), why: "a file, where a folder is needed" }
        }
        Errno::XDEV => ExtractError::InTheWay { path: path.clone(), why: "it leads out of the destination" },
        errno => ExtractError::Write { path: path.clone(), source: errno.into() },
    }
}
