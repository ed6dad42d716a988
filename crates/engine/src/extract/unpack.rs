//! From a stream to a sink.

use std::collections::HashSet;
use std::io::Read;

use serde::Serialize;

use super::{Archive, ArchiveError, Entry, EntryKind, EntryPath, ExtractError, Limits, Naming};

/// Names of left out entries that are remembered; more are only counted.
const SKIPPED_NAMES_MAX: usize = 100;

/// What came through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Regular files, hard links included.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Devices, pipes and sockets, which were left out.
    pub skipped: u64,
    /// The first of those, by path.
    pub skipped_paths: Vec<String>,
}

impl Counts {
    pub(crate) fn skip(&mut self, path: String) {
        self.skipped += 1;
        if self.skipped_paths.len() < SKIPPED_NAMES_MAX {
            self.skipped_paths.push(path);
        }
    }
}

/// Who receives entries.
pub trait Sink {
    /// A folder; fine if it is there.
    fn directory(&mut self, path: &EntryPath, mode: u32) -> Result<(), ExtractError>;

    /// A file of `size` bytes, which `content` gives exactly, or fails.
    fn file(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), ExtractError>;

    /// A symbolic link.
    fn symlink(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), ExtractError>;

    /// Another name for `target`, which was given to [`Sink::file`] before.
    fn hard_link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<(), ExtractError>;
}

/// Gives all entries of `source` to `sink`, named by `naming`, and counts in `counts` what came through, on failure too.
pub fn extract(
    source: impl Read,
    naming: &Naming,
    limits: Limits,
    sink: &mut dyn Sink,
    counts: &mut Counts,
) -> Result<(), ExtractError> {
    let mut archive = Archive::new(source, limits);
    // Which paths are regular files of this stream now. Bounded by the limits of headers and paths.
    let mut files = HashSet::new();
    while let Some(entry) = archive.next()? {
        let path = naming.apply(&entry)?;
        match &entry.kind {
            EntryKind::Special => {
                counts.skip(path.to_string());
                continue;
            }
            EntryKind::Directory => {
                sink.directory(&path, entry.mode)?;
                counts.folders += 1;
            }
            EntryKind::File { size } => {
                files.remove(&path);
                sink.file(&path, &entry, *size, &mut archive)?;
                files.insert(path);
                counts.files += 1;
                counts.bytes += size;
            }
            EntryKind::Symlink { target } => {
                files.remove(&path);
                sink.symlink(&path, target)?;
                counts.links += 1;
            }
            EntryKind::HardLink { target } => {
                let target = naming.map(target)?;
                if target == path || !files.contains(&target) {
                    return Err(ArchiveError::HardLink { path, target }.into());
                }
                sink.hard_link(&path, &target)?;
                files.insert(path);
                counts.files += 1;
            }
        }
    }
    Ok(())
}
