//! Putting a full file aside, and removing the oldest.

use std::fs::File;
use std::path::Path;

use crate::AuditError;
use crate::head::{Head, ending};
use crate::place::{CURRENT, aside, aside_name, open_to_read};

/// Renames the file that is written; its last entry's number becomes its name. Removes the oldest beyond `keep`.
pub(crate) fn put_aside(folder: &Path, last: u64, keep: u32) -> Result<(), AuditError> {
    let path = folder.join(CURRENT);
    std::fs::rename(&path, folder.join(aside_name(last))).map_err(AuditError::io("put aside", &path))?;
    let files = aside(folder)?;
    let surplus = files.len().saturating_sub(keep.max(1) as usize);
    for path in &files[..surplus] {
        std::fs::remove_file(path).map_err(AuditError::io("remove the oldest file of", path))?;
    }
    Ok(())
}

/// The last entry of the newest file that was put aside.
pub(crate) fn last_aside(folder: &Path) -> Result<Option<Head>, AuditError> {
    let Some(path) = aside(folder)?.pop() else { return Ok(None) };
    let read = |path: &Path| -> std::io::Result<Option<Head>> {
        let file: File = open_to_read(path)?;
        let size = file.metadata()?.len();
        Ok(ending(&file, size)?.head)
    };
    read(&path).map_err(AuditError::io("read", &path))
}
