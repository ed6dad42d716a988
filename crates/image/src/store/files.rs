//! Small files that appear whole or not at all, and listings of folders that may not be there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::RenameFlags;

use crate::ImageError;

/// Tells apart what one process makes at the same moment.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// How files begin that are being written, or links that are being made.
pub(crate) const WRITING_PREFIX: &str = ".write-";

/// A name in a folder that nobody has: `<prefix>...`, of this process and moment.
pub(crate) fn fresh_name(prefix: &str) -> String {
    let mut random = [0u8; 8];
    // Without randomness the process id and the counter still tell apart all but the dead, whose names EXIST then.
    if rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK).is_err() {
        random = u64::from(std::process::id()).to_le_bytes();
    }
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{:016x}-{number}", u64::from_le_bytes(random))
}

/// Writes `bytes` to `path`, synced. Where the file is there already it stays, and `false` comes back.
pub(crate) fn write_once(path: &Path, bytes: &[u8]) -> Result<bool, ImageError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let new = folder.join(fresh_name(WRITING_PREFIX));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    if let Err(source) = written {
        remove_file(&new)?;
        return Err(ImageError::io("write", path)(source));
    }
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, &new, here, path, RenameFlags::NOREPLACE) {
        Ok(()) => sync_folder(folder).map(|()| true),
        Err(rustix::io::Errno::EXIST) => remove_file(&new).map(|()| false),
        Err(errno) => Err(ImageError::io("rename", &new)(errno)),
    }
}

/// Makes what was renamed in or out of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), ImageError> {
    File::open(folder).and_then(|handle| handle.sync_all()).map_err(ImageError::io("write", folder))
}

/// Fine if it isn't there.
pub(crate) fn remove_file(path: &Path) -> Result<(), ImageError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ImageError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The whole file, at most `bytes_max`; `None` where there is none.
pub(crate) fn read_file(path: &Path, bytes_max: u64) -> Result<Option<(File, Vec<u8>)>, ImageError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ImageError::io("read", path)(error)),
    };
    let mut bytes = Vec::with_capacity(4096);
    (&mut file).take(bytes_max + 1).read_to_end(&mut bytes).map_err(ImageError::io("read", path))?;
    match bytes.len() as u64 > bytes_max {
        true => Err(ImageError::Damaged { path: path.to_owned(), why: "it is too large".to_owned() }),
        false => Ok(Some((file, bytes))),
    }
}

/// Names in `folder` that are text, sorted; none where there is no such folder.
pub(crate) fn names_in(folder: &Path) -> Result<Vec<String>, ImageError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ImageError::io("list", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(ImageError::io("list", folder))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Renames `path` aside within its folder; where to. `None` where it isn't there.
pub(crate) fn move_aside(path: &Path) -> Result<Option<PathBuf>, ImageError> {
    let aside = path.with_file_name(fresh_name(".trash-"));
    match std::fs::rename(path, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ImageError::io("rename", path)(error)),
    }
}
