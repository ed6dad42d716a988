//! The host's end of a copy: what is there, opened before anything is changed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::placement::{Destination, SourceKind};
use super::{CopyError, PathEnding};
use crate::pack::Source;

/// Opens what is to be copied. A link is copied as a link unless the path ends in a slash.
pub(super) fn open_source(path: &Path, ending: PathEnding) -> Result<(SourceKind, Source), CopyError> {
    let failed = |source: io::Error| CopyError::Source { path: path.to_owned(), source };
    if ending == PathEnding::Plain {
        let metadata = path.symlink_metadata().map_err(failed)?;
        if metadata.is_symlink() {
            let target = path.read_link().map_err(failed)?;
            return Ok((SourceKind::Single, Source::Symlink(target.as_os_str().as_bytes().to_vec())));
        }
    }
    // NONBLOCK: a named pipe must not make us wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let handle = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::NOTDIR) => {
            return Err(CopyError::SourceNotFolder { path: path.display().to_string() });
        }
        Err(errno) => return Err(failed(errno.into())),
    };
    let stat = rustix::fs::fstat(&handle).map_err(|errno| failed(errno.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok((SourceKind::Folder, Source::Folder(handle))),
        FileType::RegularFile => Ok((SourceKind::Single, Source::File(File::from(handle)))),
        _ => Err(CopyError::SourceSpecial { path: path.display().to_string() }),
    }
}

/// The name under which `path` is copied: its last component, that of the folder it means where it is `..`.
pub(super) fn source_name(path: &Path) -> Result<OsString, CopyError> {
    if let Some(name) = path.file_name() {
        return Ok(name.to_owned());
    }
    let real = path.canonicalize().map_err(|source| CopyError::Source { path: path.to_owned(), source })?;
    Ok(real.file_name().map(OsStr::to_owned).unwrap_or_default())
}

/// What is at the destination. A link there is only followed where the user wrote a slash behind it: an earlier copy
/// from a box may have made it.
pub(super) fn look_at_destination(path: &Path, ending: PathEnding) -> Result<Destination, CopyError> {
    let failed = |source| CopyError::Destination { path: path.to_owned(), source };
    let looked = match ending {
        PathEnding::Plain => path.symlink_metadata(),
        PathEnding::Slash | PathEnding::Contents => without_ending(path).metadata(),
    };
    match looked {
        Ok(metadata) if metadata.is_symlink() => Err(CopyError::DestinationLink { path: path.to_owned() }),
        Ok(metadata) if metadata.is_dir() => Ok(Destination::Folder),
        Ok(_) => Ok(Destination::File),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Destination::Missing),
        Err(error) => Err(failed(error)),
    }
}

/// The folder that entries are written below.
pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, CopyError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::NOENT => CopyError::DestinationMissing { path: path.display().to_string() },
        errno => CopyError::Destination { path: path.to_owned(), source: errno.into() },
    })
}

/// The folder that `path` is in, and its name there.
pub(super) fn parent_and_name(path: &Path) -> Result<(PathBuf, OsString), CopyError> {
    let path = without_ending(path);
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => Ok((".".into(), name.to_owned())),
        (Some(parent), Some(name)) => Ok((parent.to_owned(), name.to_owned())),
        _ => Err(CopyError::DestinationMissing { path: path.display().to_string() }),
    }
}

/// `path` without trailing slashes and dots; the standard library's components do that.
fn without_ending(path: &Path) -> PathBuf {
    let plain: PathBuf = path.components().collect();
    if plain.as_os_str().is_empty() { ".".into() } else { plain }
}
