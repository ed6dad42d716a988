//! Making things below one folder. Each path is resolved by the kernel below that folder's descriptor (openat2(2):
//! BENEATH, NO_SYMLINKS, NO_MAGICLINKS), so no link, whoever made it, leads out.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};

use agentkernel_sys::open_resolved::open_resolved;
use agentkernel_sys::remove_tree::remove_contents;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::UnpackError;
use super::entry_path::{EntryPath, c_string};
use super::ground::Present;
use crate::tar::ended_early;

/// What overlayfs keeps for itself on a mount with `userxattr`.
pub(crate) const OVERLAY_XATTR_PREFIX: &[u8] = b"user.overlay.";

/// On a folder, `y` hides what lower layers have in it.
pub(crate) const OPAQUE_XATTR: &CStr = c"user.overlay.opaque";

/// A folder that a layer is unpacked into. Nobody else writes to it meanwhile.
pub(crate) struct Folder {
    root: File,
    /// The last parent used: entries of one folder follow each other.
    recent: Option<(Vec<u8>, File)>,
}

impl Folder {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self { root: root.into(), recent: None }
    }

    pub(crate) fn root(&self) -> &File {
        &self.root
    }

    /// How many bytes may be written: nine tenths of what is free, so that no image fills the disk.
    pub(crate) fn room_bytes(&self) -> io::Result<u64> {
        let space = rustix::fs::fstatvfs(&self.root)?;
        Ok((space.f_bavail.saturating_mul(space.f_frsize) / 10).saturating_mul(9))
    }

    /// Opens the folder `path`.
    pub(crate) fn open(&self, path: &EntryPath) -> Result<File, UnpackError> {
        self.open_below(path.as_bytes()).map_err(|errno| refused(path, errno))
    }

    fn open_below(&self, path: &[u8]) -> Result<File, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let name = if path.is_empty() { c".".to_owned() } else { c_string(path) };
        open_resolved(&self.root, &name, flags, resolve).map(File::from)
    }

    /// The folder that `path` is in, and its name there. `None` where that folder doesn't exist.
    pub(crate) fn parent<'p>(
        &mut self,
        path: &'p EntryPath,
    ) -> Result<Option<(&File, &'p [u8])>, UnpackError> {
        let Some((parent, name)) = path.split() else {
            return Err(UnpackError::InTheWay { path: path.clone(), why: "it is the layer's root" });
        };
        if self.recent.as_ref().is_none_or(|(recent, _)| recent != parent) {
            match self.open_below(parent) {
                Ok(handle) => self.recent = Some((parent.to_vec(), handle)),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(refused(path, errno)),
            }
        }
        Ok(self.recent.as_ref().map(|(_, handle)| (handle, name)))
    }

    /// What is under `path`, in a folder that exists.
    pub(crate) fn present(&mut self, path: &EntryPath) -> Result<Present, UnpackError> {
        if path.is_root() {
            return Ok(Present::Folder);
        }
        let Some((parent, name)) = self.parent(path)? else { return Ok(Present::Nothing) };
        match rustix::fs::statat(parent, c_string(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Present::Folder,
                FileType::RegularFile => Present::File,
                FileType::Symlink => Present::Symlink,
                // No other device is ever made here.
                FileType::CharacterDevice => Present::Whiteout,
                _ => Present::Other,
            }),
            Err(Errno::NOENT) => Ok(Present::Nothing),
            Err(errno) => Err(refused(path, errno)),
        }
    }

    /// Takes away what is under `path`; whether it was a folder.
    pub(crate) fn remove(&mut self, path: &EntryPath) -> Result<bool, UnpackError> {
        let Some((parent, name)) = self.parent(path)? else { return Ok(false) };
        let name = c_string(name);
        match rustix::fs::unlinkat(parent, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(false),
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(refused(path, errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(parent, &name, flags, Mode::empty())
            .and_then(|tree| remove_contents(tree.as_fd()))
            .and_then(|()| rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR))
            .map_err(|errno| refused(path, errno))?;
        // It may have been below what is gone.
        self.recent = None;
        Ok(true)
    }

    /// Makes something under `path` by `make`, which gets the open folder and the name; what is there goes first.
    /// Returns also whether a folder went.
    pub(crate) fn replace<T>(
        &mut self,
        path: &EntryPath,
        make: impl Fn(&File, &CStr) -> Result<T, Errno>,
    ) -> Result<(T, bool), UnpackError> {
        let mut folder_went = false;
        for attempt in 0..2 {
            let Some((parent, name)) = self.parent(path)? else { break };
            match make(parent, &c_string(name)) {
                Ok(made) => return Ok((made, folder_went)),
                Err(Errno::EXIST) if attempt == 0 => folder_went = self.remove(path)?,
                Err(errno) => return Err(refused(path, errno)),
            }
        }
        Err(refused(path, Errno::NOENT))
    }
}

/// An empty file that only its owner may use.
pub(crate) fn create_file(parent: &File, name: &CStr) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// A folder that only its owner may use.
pub(crate) fn create_folder(parent: &File, name: &CStr) -> Result<(), Errno> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)
}

/// overlayfs's mark for a name that is gone. Making a device 0:0 needs no privilege (mknod(2), since Linux 5.8).
pub(crate) fn create_whiteout(parent: &File, name: &CStr) -> Result<(), Errno> {
    rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// A named pipe that only its owner may use.
pub(crate) fn create_pipe(parent: &File, name: &CStr) -> Result<(), Errno> {
    rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
}

/// All bytes that `content` gives, without a copy between.
pub(crate) fn write_all(
    path: &EntryPath,
    content: &mut impl BufRead,
    file: &mut File,
) -> Result<u64, UnpackError> {
    let mut written = 0;
    loop {
        let bytes = content.fill_buf().map_err(ended_early)?;
        let count = bytes.len();
        if count == 0 {
            return Ok(written);
        }
        file.write_all(bytes).map_err(|source| UnpackError::Write { path: path.clone(), source })?;
        content.consume(count);
        written += count as u64;
    }
}

/// The error for `path` that the kernel's stands for.
pub(crate) fn refused(path: &EntryPath, errno: Errno) -> UnpackError {
    let in_the_way = |why| UnpackError::InTheWay { path: path.clone(), why };
    match errno {
        Errno::LOOP => in_the_way("it leads through a symbolic link, which is not followed"),
        Errno::NOTDIR => in_the_way("it leads through something that is not a folder"),
        Errno::XDEV => in_the_way("it leads out of the layer"),
        errno => UnpackError::Write { path: path.clone(), source: errno.into() },
    }
}
