//! Removing a tree whose content a hostile box has made.
//!
//! Links are never followed, mounts never entered, folders without permissions opened up first, and depth costs neither
//! stack nor file descriptors: each inner folder is moved up beside the others before it is emptied. `record.json` and the
//! locks go last, so that a removal that is cut short can be told from a live sandbox.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::StoreError;
use crate::crash::step;
use crate::place::{OWNER_LOCK, RECORD_FILE, RECORD_LOCK};

/// Names in the root that are removed after everything else, in this order.
const LAST: [&str; 3] = [RECORD_FILE, OWNER_LOCK, RECORD_LOCK];

/// How often the kernel is asked again before a folder counts as busy: renames elsewhere make it unsure of a step that it
/// just took (openat2(2), EAGAIN), and somebody may rename without end.
const MAX_TRIES: usize = 10_000;

/// Removes `root` and all in it; fine if it is gone.
pub(crate) fn remove_tree(root: &Path) -> Result<(), StoreError> {
    match remove(root) {
        Ok(()) | Err((_, Errno::NOENT)) => Ok(()),
        Err((name, Errno::XDEV | Errno::BUSY)) => Err(StoreError::StillMounted { path: shown(root, &name) }),
        Err((name, errno)) => {
            Err(StoreError::Io { action: "remove", path: shown(root, &name), source: io::Error::from(errno) })
        }
    }
}

type Failure = (CString, Errno);

fn shown(root: &Path, name: &CStr) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    root.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

fn at(name: &CStr) -> impl FnOnce(Errno) -> Failure {
    let name = name.to_owned();
    move |errno| (name, errno)
}

fn remove(root: &Path) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(at(c"."))?;
    let mut hoisted = 0u64;
    // Each round empties the folders found in the root; what they held comes up for the next round.
    loop {
        let mut emptied_any = false;
        for (name, kind) in entries(&top).map_err(at(c"."))? {
            if LAST.iter().any(|last| last.as_bytes() == name.to_bytes()) {
                continue;
            }
            emptied_any = true;
            match kind {
                FileType::Directory => empty_and_remove(&top, &name, &mut hoisted)?,
                _ => unlink(&top, &name).map_err(at(&name))?,
            }
            step();
        }
        if !emptied_any {
            break;
        }
    }
    for name in LAST {
        gone_is_fine(rustix::fs::unlinkat(&top, name, AtFlags::empty()))
            .map_err(|errno| (c"".to_owned(), errno))?;
        step();
    }
    drop(top);
    rustix::fs::rmdir(root).map_err(at(c"."))
}

/// Removes the folder `name` of `top`; folders in it that aren't empty are moved into `top`.
fn empty_and_remove(top: &OwnedFd, name: &CStr, hoisted: &mut u64) -> Result<(), Failure> {
    let folder = match open_inner(top, name) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(at(name)(errno)),
    };
    for (inner, kind) in entries(&folder).map_err(at(name))? {
        if kind != FileType::Directory {
            unlink(&folder, &inner).map_err(at(&inner))?;
            continue;
        }
        match rustix::fs::unlinkat(&folder, &inner, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS | Errno::PERM) => {}
            Err(errno) => return Err(at(&inner)(errno)),
        }
        // Opening it first makes it writable, which moving a folder needs (its `..` changes), and refuses mounts.
        drop(open_inner(&folder, &inner).map_err(at(&inner))?);
        hoist(&folder, &inner, top, hoisted).map_err(at(&inner))?;
    }
    gone_is_fine(rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR)).map_err(at(name))
}

/// Moves `inner` into `top` under a name that isn't taken.
fn hoist(folder: &OwnedFd, inner: &CStr, top: &OwnedFd, hoisted: &mut u64) -> Result<(), Errno> {
    loop {
        *hoisted += 1;
        let name = format!("moved-up-{hoisted}");
        match rustix::fs::statat(top, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => continue,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        return gone_is_fine(rustix::fs::renameat(folder, inner, top, name.as_str()));
    }
}

/// Opens a folder by one name without following a link or entering a mount, readable and writable for us.
fn open_inner(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_XDEV
        | ResolveFlags::NO_MAGICLINKS;
    let open = |flags: OFlags| {
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut last = Errno::AGAIN;
        for _ in 0..MAX_TRIES {
            match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
                Err(again @ (Errno::AGAIN | Errno::INTR)) => last = again,
                other => return other,
            }
        }
        Err(last)
    };
    let handle = open(OFlags::PATH)?;
    let stat = rustix::fs::fstat(&handle)?;
    if stat.st_mode & 0o700 != 0o700 {
        // fchmod(2) refuses O_PATH handles and chmod(2) would follow a link put there meanwhile; the handle's own name in
        // /proc leads to exactly what was opened. Root needs no mode bits, so its failure is not the end.
        let through = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
        if let Err(error) = rustix::fs::chmod(through.as_str(), Mode::RWXU) {
            tracing::debug!(%error, "could not open up a folder for removal");
        }
    }
    open(OFlags::RDONLY)
}

fn entries(folder: &impl AsFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            },
            known => known,
        };
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}

fn unlink(folder: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    gone_is_fine(rustix::fs::unlinkat(folder, name, AtFlags::empty()))
}

fn gone_is_fine(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
