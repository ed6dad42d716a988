//! `[[files]]`: files of the host that a sandbox starts with.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use agentkernel_backend::Guest;
use agentkernel_config::FileEntry;
use agentkernel_model::BoxPath;
use agentkernel_store::{LockedRecord, StagedFile};
use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::EngineError;

/// A file of the host, opened: that it can be read is known before anything is made.
pub(crate) struct SourceFile {
    pub(crate) file: File,
    pub(crate) dest: BoxPath,
    pub(crate) mode: u32,
}

impl SourceFile {
    pub(crate) fn staged(&self) -> StagedFile {
        StagedFile { dest: self.dest.clone(), mode: self.mode }
    }
}

/// A file that a sandbox starts with, of which only the content is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBytes {
    /// Where it goes.
    pub dest: BoxPath,
    /// Its permission bits.
    pub mode: u32,
    /// All of it.
    pub content: Bytes,
}

impl FileBytes {
    /// As a file in memory, so that it goes the way of all others.
    fn into_source(self) -> Result<SourceFile, EngineError> {
        let Self { dest, mode, content } = self;
        let failed = |source: io::Error| EngineError::FileBytes { dest: dest.clone(), source };
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let memory =
            rustix::fs::memfd_create("agentkernel-file", flags).map_err(|errno| failed(errno.into()))?;
        let mut file = File::from(memory);
        file.write_all(&content).and_then(|()| file.rewind()).map_err(failed)?;
        Ok(SourceFile { file, dest, mode })
    }
}

/// Opens the files of the host and adds those whose content is known; all of them or none.
pub(crate) fn all_sources(
    entries: &[FileEntry],
    contents: Vec<FileBytes>,
) -> Result<Vec<SourceFile>, EngineError> {
    let mut sources = open_sources(entries)?;
    for content in contents {
        sources.push(content.into_source()?);
    }
    Ok(sources)
}

/// Opens all of them, or none.
fn open_sources(entries: &[FileEntry]) -> Result<Vec<SourceFile>, EngineError> {
    entries
        .iter()
        .map(|entry| {
            let file = open_regular(&entry.source)
                .map_err(|source| EngineError::File { path: entry.source.clone(), source })?;
            Ok(SourceFile { file, dest: entry.dest.clone(), mode: entry.mode })
        })
        .collect()
}

fn open_regular(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Without NONBLOCK a named pipe would make us wait for its writer before we can see what it is.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// Puts opened files into a box.
pub(crate) async fn upload(sources: Vec<SourceFile>, guest: &dyn Guest) -> Result<(), EngineError> {
    for source in sources {
        put(source.file, &source.dest, source.mode, guest).await?;
    }
    Ok(())
}

/// Puts the files that wait in a sandbox's folder into its box.
pub(crate) async fn upload_staged(locked: &LockedRecord, guest: &dyn Guest) -> Result<(), EngineError> {
    for (n, staged) in locked.record().files.iter().enumerate() {
        let path = locked.staged_path(n);
        let file = open_regular(&path).map_err(|source| EngineError::File { path, source })?;
        put(file, &staged.dest, staged.mode, guest).await?;
    }
    Ok(())
}

async fn put(file: File, dest: &BoxPath, mode: u32, guest: &dyn Guest) -> Result<(), EngineError> {
    if let Some(parent) = dest.as_path().parent().and_then(|parent| BoxPath::new(parent).ok()) {
        guest.make_dir(&parent, None).await?;
    }
    guest.write_file(dest, Some(mode), Box::new(RegularFile(file))).await?;
    Ok(())
}

/// A regular file as a stream. Its reads don't wait for anything but the disk, so they are made in place.
pub(crate) struct RegularFile(pub(crate) File);

impl AsyncRead for RegularFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.initialize_unfilled();
        match io::Read::read(&mut self.0, room) {
            Ok(count) => {
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}
