//! What is in a file.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;

use agentkernel_protocol::{Event, Failure, FailureKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::path;
use crate::failure::{failure, io};
use crate::random_id::random_id;
use crate::worker::Pipes;

/// A new file's permissions.
const DEFAULT_MODE: u32 = 0o644;

fn not_regular() -> Failure {
    failure(FailureKind::Invalid, "it is not a regular file")
}

/// Sends a regular file. Nothing else is opened for reading for long: a pipe without a writer must not hang this.
pub(super) fn read(pipes: &Pipes, path: &[u8]) -> Result<Event, Failure> {
    let file = path::open(path, OFlags::RDONLY | OFlags::NONBLOCK).map_err(path::plain)?;
    let stat = rustix::fs::fstat(&file).map_err(path::plain)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_regular());
    }
    pipes.ready();
    copy(&mut File::from(file), &mut &pipes.output).map_err(|error| io("reading it", &error))?;
    Ok(Event::Done)
}

/// With a larger buffer than the standard library's.
pub(super) fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(length) => {
                to.write_all(buffer.get(..length).unwrap_or_default())?;
                copied += length as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether all of the input came.
pub(super) fn input_is_complete(pipes: &Pipes) -> bool {
    let mut byte = [0];
    matches!((&pipes.complete).read(&mut byte), Ok(1))
}

/// Writes a file whole, beside its place, and puts it there at the end.
pub(super) fn write(pipes: &Pipes, path: &[u8], mode: Option<u32>) -> Result<Event, Failure> {
    let mode = Mode::from_raw_mode(mode.unwrap_or(DEFAULT_MODE) & 0o7777);
    let path = path::follow(path)?;
    let (folder, name) = path::parent(&path)?;
    let old = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Some(stat),
        Ok(_) => return Err(not_regular()),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(path::plain(error)),
    };
    let fresh = format!(".agentkernel-{}", random_id());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&folder, &fresh, flags, Mode::from_raw_mode(0o600)).map_err(path::plain)?;
    let result = fill(pipes, file).and_then(|(file, length)| {
        if let Some(old) = old {
            let owner = (rustix::fs::Uid::from_raw(old.st_uid), rustix::fs::Gid::from_raw(old.st_gid));
            // An owner that can't be kept is replaced, as by any program that saves a file.
            rustix::fs::fchown(&file, Some(owner.0), Some(owner.1)).ok();
        }
        rustix::fs::fchmod(&file, mode).map_err(path::plain)?;
        match rustix::fs::renameat(&folder, &fresh, &folder, name) {
            Ok(()) => return Ok(length),
            // A file that something is mounted on can't be replaced, only written.
            Err(Errno::BUSY) => {}
            Err(error) => return Err(path::plain(error)),
        }
        overwrite(file, &folder, name)?;
        rustix::fs::unlinkat(&folder, &fresh, AtFlags::empty()).map_err(path::plain)?;
        Ok(length)
    });
    if result.is_err() {
        // The failure is what matters.
        rustix::fs::unlinkat(&folder, &fresh, AtFlags::empty()).ok();
    }
    result.map(Event::Written)
}

fn fill(pipes: &Pipes, file: OwnedFd) -> Result<(File, u64), Failure> {
    let mut file = File::from(file);
    let length = copy(&mut &pipes.input, &mut file).map_err(|error| io("writing it", &error))?;
    if !input_is_complete(pipes) {
        return Err(failure(FailureKind::Other, "its content was not sent to the end"));
    }
    Ok((file, length))
}

fn overwrite(mut fresh: File, folder: &OwnedFd, name: &[u8]) -> Result<(), Failure> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let place = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(path::plain)?;
    let failed = |error: std::io::Error| io("writing it", &error);
    fresh.seek(SeekFrom::Start(0)).map_err(failed)?;
    copy(&mut fresh, &mut File::from(place)).map_err(failed)?;
    Ok(())
}
