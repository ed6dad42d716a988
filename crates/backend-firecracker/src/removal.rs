//! Removing what may be gone already.

use std::io;
use std::path::Path;

/// What removing something says, where it is as well if it was not there.
pub(crate) fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes `folder` with all in it; fine if it is gone.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    missing_is_fine(std::fs::remove_dir_all(folder))
}
