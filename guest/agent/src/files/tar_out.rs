//! A folder or file as a POSIX (pax) tar stream. Links aren't followed, sockets are left out, hard links are files of
//! their own.

use std::ffi::CString;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use agentkernel_protocol::{Event, Failure};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, ResolveFlags, Stat};
use tar::{Builder, EntryType, Header};

use super::path;
use crate::failure::io as io_failure;
use crate::worker::Pipes;

/// What the numbers of a ustar header hold (seven and eleven octal digits).
const MAX_HEADER_ID: u32 = 0o777_7777;
const MAX_HEADER_SIZE: u64 = 0o777_7777_7777;

/// Packs `path`.
pub(super) fn pack(pipes: &Pipes, path: &[u8]) -> Result<Event, Failure> {
    let (base, names) = match path::split(path) {
        Some((_, name)) => (path::parent(path)?.0, vec![name.to_vec()]),
        // The root has no name of its own.
        None => {
            let root = path::open_folder(b"/").map_err(path::plain)?;
            let names = names_in(&root, b"").map_err(|error| io_failure("listing /", &error))?;
            (root, names)
        }
    };
    for name in &names {
        // Before the stream begins, so that a missing file is an error and not a broken stream.
        rustix::fs::statat(&base, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).map_err(path::plain)?;
    }
    pipes.ready();
    let mut builder = Builder::new(BufWriter::with_capacity(64 * 1024, &pipes.output));
    // Last in, first out: sorted within a folder, a folder before what is in it.
    let mut pending: Vec<Vec<u8>> = names.into_iter().rev().collect();
    while let Some(name) = pending.pop() {
        let more =
            append(&mut builder, &base, &name).map_err(|error| io_failure(&path::shown(&name), &error))?;
        pending.extend(more.into_iter().rev());
    }
    let finish = builder.into_inner().and_then(|mut out| out.flush());
    finish.map_err(|error| io_failure("sending", &error))?;
    Ok(Event::Done)
}

/// The entries of a folder, sorted, each with the folder's own name before it.
fn names_in(folder: &OwnedFd, prefix: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() });
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Opens without following any link, so that what is packed is what is there.
fn open(base: &OwnedFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(path::open_below(base, name, flags | OFlags::NOFOLLOW, resolve)?)
}

/// Appends one file; returns what is in it.
fn append(builder: &mut Builder<impl Write>, base: &OwnedFd, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let stat = match rustix::fs::statat(base, name, AtFlags::SYMLINK_NOFOLLOW) {
        // Removed meanwhile.
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let folder = open(base, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            append_header(
                builder,
                name,
                &rustix::fs::fstat(&folder)?,
                EntryType::Directory,
                b"",
                io::empty(),
            )?;
            names_in(&folder, name)
        }
        FileType::RegularFile => {
            let file = open(base, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
            let stat = rustix::fs::fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(io::Error::other("it changed while it was read"));
            }
            let content = Exactly { file: file.into(), left: stat.st_size as u64 };
            append_header(builder, name, &stat, EntryType::Regular, b"", content).map(|()| Vec::new())
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(base, name, Vec::new())?;
            append_header(builder, name, &stat, EntryType::Symlink, target.as_bytes(), io::empty())?;
            Ok(Vec::new())
        }
        FileType::Fifo => {
            append_header(builder, name, &stat, EntryType::Fifo, b"", io::empty()).map(|()| Vec::new())
        }
        FileType::CharacterDevice => {
            append_header(builder, name, &stat, EntryType::Char, b"", io::empty()).map(|()| Vec::new())
        }
        FileType::BlockDevice => {
            append_header(builder, name, &stat, EntryType::Block, b"", io::empty()).map(|()| Vec::new())
        }
        FileType::Socket | FileType::Unknown => Ok(Vec::new()),
    }
}

fn append_header(
    builder: &mut Builder<impl Write>,
    name: &[u8],
    stat: &Stat,
    kind: EntryType,
    link: &[u8],
    content: impl Read,
) -> io::Result<()> {
    let size = if kind == EntryType::Regular { stat.st_size as u64 } else { 0 };
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_mtime(stat.st_mtime.try_into().unwrap_or(0));
    header.set_size(size);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    if matches!(kind, EntryType::Char | EntryType::Block) {
        header.set_device_major(rustix::fs::major(stat.st_rdev))?;
        header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
    }
    let mut extensions: Vec<(&str, Vec<u8>)> = Vec::new();
    let full = if kind == EntryType::Directory { [name, b"/"].concat() } else { name.to_vec() };
    if header.set_path(Path::new(std::ffi::OsStr::from_bytes(&full))).is_err() {
        extensions.push(("path", full));
    }
    if !link.is_empty() && header.set_link_name_literal(CString::new(link)?.as_bytes()).is_err() {
        extensions.push(("linkpath", link.to_vec()));
    }
    for (key, number) in [("uid", stat.st_uid), ("gid", stat.st_gid)] {
        if number > MAX_HEADER_ID {
            extensions.push((key, number.to_string().into_bytes()));
        }
    }
    if size > MAX_HEADER_SIZE {
        extensions.push(("size", size.to_string().into_bytes()));
    }
    header.set_cksum();
    builder.append_pax_extensions(extensions.iter().map(|(key, value)| (*key, value.as_slice())))?;
    builder.append(&header, content)
}

/// A file's content, as long as its header says.
struct Exactly {
    file: std::fs::File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(self.left.try_into().unwrap_or(usize::MAX));
        let length = self.file.read(out.get_mut(..most).unwrap_or_default())?;
        if length == 0 && most > 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        self.left -= length as u64;
        Ok(length)
    }
}
