//! What is in a folder.

use std::ffi::CString;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;

use agentkernel_protocol::{Entry, EntryKind, Event, Failure, FailureKind, encode_record};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::path;
use crate::failure::{failure, io};
use crate::worker::Pipes;

/// The most entries that are listed.
const MAX_ENTRIES: usize = 100_000;

/// The name that the root is given: it has none.
const ROOT_NAME: &[u8] = b"root";

fn entry(name: &[u8], stat: &Stat) -> Entry {
    Entry {
        name: name.to_vec().into(),
        kind: match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink,
            _ => EntryKind::Other,
        },
        size: stat.st_size.try_into().unwrap_or(0),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: stat.st_mtime,
    }
}

/// One file; a link isn't followed.
pub(super) fn stat(path: &[u8]) -> Result<Event, Failure> {
    let Some((_, name)) = path::split(path) else {
        let root = rustix::fs::statat(CWD, c"/", AtFlags::empty()).map_err(path::plain)?;
        return Ok(Event::File(entry(ROOT_NAME, &root)));
    };
    let (folder, _) = path::parent(path)?;
    let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(path::plain)?;
    Ok(Event::File(entry(name, &stat)))
}

/// The entries of a folder, in no order.
pub(super) fn list(pipes: &Pipes, path: &[u8]) -> Result<Event, Failure> {
    let folder = path::open_folder(path).map_err(path::plain)?;
    let entries = Dir::read_from(&folder).map_err(path::plain)?;
    pipes.ready();
    let mut out = BufWriter::new(&pipes.output);
    let mut record = Vec::new();
    let mut count = 0;
    for name in entries {
        let name = name.map_err(path::plain)?;
        let name = name.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Removed meanwhile.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(path::plain(error)),
        };
        count += 1;
        if count > MAX_ENTRIES {
            return Err(failure(FailureKind::Invalid, format!("it has more than {MAX_ENTRIES} entries")));
        }
        record.clear();
        encode_record(&entry(name.to_bytes(), &stat), &mut record);
        out.write_all(&record).map_err(|error| io("listing it", &error))?;
    }
    out.flush().map_err(|error| io("listing it", &error))?;
    Ok(Event::Done)
}

/// Makes a folder and its parents.
pub(super) fn make(path: &[u8], mode: Option<u32>) -> Result<Event, Failure> {
    let mode = Mode::from_raw_mode(mode.unwrap_or(0o755) & 0o7777);
    let ends = path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at > 0).map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let part = path.get(..end).unwrap_or_default();
        let Some((_, name)) = path::split(part) else { continue };
        let (folder, _) = path::parent(part)?;
        match rustix::fs::mkdirat(&folder, name, mode) {
            // Exactly as asked for, whatever default the file system has.
            Ok(()) => rustix::fs::chmodat(&folder, name, mode, AtFlags::empty()).map_err(path::plain)?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(path::plain(error)),
        }
    }
    match path::open_folder(path) {
        Ok(_) => Ok(Event::Done),
        Err(Errno::NOTDIR) => Err(failure(FailureKind::AlreadyExists, "it is not a folder")),
        Err(error) => Err(path::plain(error)),
    }
}

/// Removes a file or, where `recursive`, a folder with all in it; an empty folder always.
pub(super) fn remove(path: &[u8], recursive: bool) -> Result<Event, Failure> {
    let (folder, name) = path::parent(path)?;
    match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) => return Ok(Event::Done),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(path::plain(error)),
    }
    match rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
        Ok(()) => return Ok(Event::Done),
        Err(Errno::NOTEMPTY | Errno::EXIST) if recursive => {}
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            return Err(failure(FailureKind::Invalid, "the folder is not empty"));
        }
        Err(error) => return Err(path::plain(error)),
    }
    let name = CString::new(name).map_err(|_| path::plain(Errno::INVAL))?;
    remove_tree(folder, name).map_err(path::plain)?;
    Ok(Event::Done)
}

fn open_inside(folder: &OwnedFd, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name.as_c_str(), flags, Mode::empty())
}

/// Any depth with three descriptors: the way back up is `..`, checked against where it was.
fn remove_tree(mut folder: OwnedFd, name: CString) -> Result<(), Errno> {
    let mut above: Vec<(CString, u64, u64)> = Vec::new();
    let identity = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let (device, inode) = identity(&folder)?;
    above.push((name.clone(), device, inode));
    folder = open_inside(&folder, &name)?;
    loop {
        if let Some(child) = empty_until_folder(&folder)? {
            let (device, inode) = identity(&folder)?;
            above.push((child.clone(), device, inode));
            folder = open_inside(&folder, &child)?;
            continue;
        }
        let Some((name, device, inode)) = above.pop() else { return Ok(()) };
        let parent = open_inside(&folder, &CString::from(c".."))?;
        if identity(&parent)? != (device, inode) {
            // Moved while it was being removed.
            return Err(Errno::STALE);
        }
        match rustix::fs::unlinkat(&parent, name.as_c_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        if above.is_empty() {
            return Ok(());
        }
        folder = parent;
    }
}

/// Removes files until there is a folder with something in it, which is returned.
fn empty_until_folder(folder: &OwnedFd) -> Result<Option<CString>, Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(error) => return Err(error),
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(name.to_owned())),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
