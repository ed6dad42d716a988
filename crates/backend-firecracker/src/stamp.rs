//! What tells a file from any other that was there before it, without reading it.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file as it is now: one that is written, or put in its place, has another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FileStamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl FileStamp {
    /// Of what `path` leads to.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            modified_s: meta.mtime(),
            modified_ns: meta.mtime_nsec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_in_its_place_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let (path, beside) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&path, "one").unwrap();
        std::fs::write(&beside, "one").unwrap();
        let first = FileStamp::of(&path).unwrap();
        assert_eq!(first, FileStamp::of(&path).unwrap());
        std::fs::rename(&beside, &path).unwrap();
        assert_ne!(first, FileStamp::of(&path).unwrap());
        assert!(FileStamp::of(&beside).is_err());
    }
}
