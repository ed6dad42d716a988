//! From one box to another without touching the disk: what came, checked, out of the one makes a clean stream for the
//! other.

use std::io::{self, Read, Write};

use super::TarWriter;
use super::writer::Attributes;
use crate::extract::{Entry, EntryPath, ExtractError, Sink};

/// A sink that writes tar.
pub(crate) struct Relay<W: Write> {
    writer: TarWriter<W>,
}

impl<W: Write> Relay<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { writer: TarWriter::new(output) }
    }

    /// Writes the end mark.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.writer.finish()
    }
}

fn failed(path: &EntryPath) -> impl FnOnce(io::Error) -> ExtractError {
    let path = path.clone();
    move |source| ExtractError::Write { path, source }
}

impl<W: Write> Sink for Relay<W> {
    fn directory(&mut self, path: &EntryPath, mode: u32) -> Result<(), ExtractError> {
        if path.is_root() {
            return Ok(());
        }
        let attributes = Attributes { mode: mode | 0o700, modified: 0 };
        self.writer.directory(path.as_bytes(), attributes).map_err(failed(path))
    }

    fn file(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), ExtractError> {
        let attributes = Attributes { mode: entry.mode, modified: entry.modified };
        self.writer.file(path.as_bytes(), attributes, size, content).map_err(failed(path))
    }

    fn symlink(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), ExtractError> {
        self.writer.symlink(path.as_bytes(), target, 0).map_err(failed(path))
    }

    fn hard_link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<(), ExtractError> {
        self.writer.hard_link(path.as_bytes(), target.as_bytes()).map_err(failed(path))
    }
}
