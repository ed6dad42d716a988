//! Holding a stream's names to what was asked for. Without this a box that is asked for `results` could also send
//! `.bashrc`.

use super::{ArchiveError, Entry, EntryKind, EntryPath};

/// What a stream may hold, and what its entries are called at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// The first component that every entry must have, which is dropped; `None` where the stream is of a whole root.
    pub top: Option<Vec<u8>>,
    /// Whether what was asked for is a folder: the entry of the top itself must then be one, else it must not.
    pub folder: bool,
    /// The name it gets instead; `None` puts what is in the top folder right into the destination.
    pub rename: Option<Vec<u8>>,
}

impl Naming {
    /// The path at the destination of an entry of the stream.
    pub(crate) fn apply(&self, entry: &Entry) -> Result<EntryPath, ArchiveError> {
        let path = self.map(&entry.path)?;
        let is_top = match self.top {
            Some(_) => entry.path.split_first().is_some_and(|(_, rest)| rest.is_root()),
            None => entry.path.is_root(),
        };
        let is_folder = entry.kind == EntryKind::Directory;
        if is_top && is_folder != self.folder {
            return Err(ArchiveError::Unasked { path: entry.path.clone() });
        }
        Ok(path)
    }

    /// The path at the destination of any path of the stream.
    pub(crate) fn map(&self, path: &EntryPath) -> Result<EntryPath, ArchiveError> {
        let unasked = || ArchiveError::Unasked { path: path.clone() };
        let rest = match &self.top {
            None => path.clone(),
            Some(top) => match path.split_first() {
                Some((first, rest)) if first == top.as_slice() => rest,
                _ => return Err(unasked()),
            },
        };
        if !rest.is_root() && !self.folder {
            return Err(unasked());
        }
        Ok(match &self.rename {
            Some(name) => rest.below(name),
            None => rest,
        })
    }
}
