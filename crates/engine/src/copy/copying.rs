//! The three copies: out of a box, into a box, from box to box.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use agentkernel_backend::{BackendError, FileKind, Guest, OutputStream};
use agentkernel_model::BoxPath;
use serde::Serialize;

use super::end::file_name;
use super::host::{look_at_destination, open_folder, open_source, parent_and_name, source_name};
use super::placement::{Destination, Placement, SourceKind, place};
use super::stream::{BlockingReader, BlockingWriter, reading, writing};
use super::{CopyEnd, CopyError, PathEnding, sizeless};
use crate::engine::blocking;
use crate::extract::{Counts, EntryPath, ExtractError, Folder, Limits, Naming, extract};
use crate::pack::{PackError, Relay, pack};
use crate::{Engine, EngineError};

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CopyReport {
    /// The numbers.
    pub counts: Counts,
}

impl fmt::Display for CopyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { files, folders, links, bytes, skipped, .. } = self.counts;
        write!(f, "{files} files ({bytes} bytes), {folders} folders, {links} links")?;
        match skipped {
            0 => Ok(()),
            _ => write!(f, "; left out {skipped} that are neither (devices, pipes, sockets)"),
        }
    }
}

/// A path in a running box.
struct Inside<'a> {
    guest: Arc<dyn Guest>,
    path: &'a BoxPath,
    ending: PathEnding,
    shown: String,
}

/// Where a stream is unpacked in a box, and what its top is called there.
struct Target {
    folder: BoxPath,
    name: Option<Vec<u8>>,
}

impl Engine {
    /// Copies by the rules of `docker cp`; sandboxes must run.
    pub async fn copy(&self, from: &CopyEnd, to: &CopyEnd) -> Result<CopyReport, EngineError> {
        match (from, to) {
            (CopyEnd::Host(_), CopyEnd::Host(_)) => {
                Err(CopyError::BothOnHost { from: from.shown(), to: to.shown() }.into())
            }
            (CopyEnd::Host(source), CopyEnd::Sandbox { .. }) => copy_in(source, self.inside(to).await?).await,
            (CopyEnd::Sandbox { .. }, CopyEnd::Host(dest)) => copy_out(self.inside(from).await?, dest).await,
            (CopyEnd::Sandbox { .. }, CopyEnd::Sandbox { .. }) => {
                copy_across(self.inside(from).await?, self.inside(to).await?).await
            }
        }
    }

    async fn inside<'a>(&self, end: &'a CopyEnd) -> Result<Inside<'a>, EngineError> {
        match end {
            CopyEnd::Sandbox { name, path, ending } => {
                let (_, guest) = self.guest(name).await?;
                Ok(Inside { guest, path, ending: *ending, shown: end.shown() })
            }
            // Not reached: each caller has looked at the end's kind.
            CopyEnd::Host(path) => Err(CopyError::SourceSpecial { path: path.display().to_string() }.into()),
        }
    }
}

impl Inside<'_> {
    async fn source_kind(&self) -> Result<SourceKind, EngineError> {
        match self.guest.stat(self.path).await?.kind {
            FileKind::Directory => {
                sizeless::refuse_folder(self.path)?;
                Ok(SourceKind::Folder)
            }
            FileKind::File | FileKind::Symlink => Ok(SourceKind::Single),
            FileKind::Other => Err(CopyError::SourceSpecial { path: self.shown.clone() }.into()),
        }
    }

    /// The stream of a source of this kind.
    async fn tar(&self, kind: SourceKind) -> Result<OutputStream, EngineError> {
        if kind == SourceKind::Single
            && let Some(stream) = sizeless::tar_of(&*self.guest, self.path).await?
        {
            return Ok(stream);
        }
        Ok(self.guest.tar_out(self.path).await?)
    }

    async fn destination(&self) -> Result<Destination, EngineError> {
        match self.guest.stat(self.path).await {
            Ok(info) if info.kind == FileKind::Directory => Ok(Destination::Folder),
            Ok(info) if info.kind == FileKind::Symlink => self.behind_link().await,
            Ok(_) => Ok(Destination::File),
            Err(BackendError::NotFound { .. }) => Ok(Destination::Missing),
            Err(error) => Err(error.into()),
        }
    }

    /// A link as the destination (`/bin` on most systems) means the folder it leads to; the box follows its own links,
    /// inside. Only listing tells: looking at a file doesn't follow.
    async fn behind_link(&self) -> Result<Destination, EngineError> {
        match self.guest.list(self.path).await {
            Ok(_) => Ok(Destination::Folder),
            Err(error @ (BackendError::BoxEnded { .. } | BackendError::HostileGuest { .. })) => {
                Err(error.into())
            }
            Err(_) => Ok(Destination::File),
        }
    }

    /// Where a stream has to be unpacked for `placement`.
    async fn target(&self, placement: Placement, own_name: Option<Vec<u8>>) -> Result<Target, EngineError> {
        match placement {
            Placement::Into => Ok(Target { folder: self.path.clone(), name: own_name }),
            Placement::Contents => Ok(Target { folder: self.path.clone(), name: None }),
            Placement::As => {
                let parent = self.path.as_path().parent().unwrap_or(Path::new("/"));
                let folder = BoxPath::new(parent).map_err(CopyError::from)?;
                // Unpacking would make it; a mistyped path should not.
                match self.guest.stat(&folder).await {
                    Ok(_) => {}
                    Err(BackendError::NotFound { .. }) => {
                        return Err(CopyError::DestinationMissing { path: folder.to_string() }.into());
                    }
                    Err(error) => return Err(error.into()),
                }
                Ok(Target { folder, name: file_name(self.path).map(|name| name.as_bytes().to_vec()) })
            }
        }
    }

    /// The name of the stream's top.
    fn top(&self) -> Option<Vec<u8>> {
        file_name(self.path).map(|name| name.as_bytes().to_vec())
    }
}

async fn copy_in(source: &Path, to: Inside<'_>) -> Result<CopyReport, EngineError> {
    let ending = PathEnding::of(source.as_os_str());
    let (kind, opened) = open_source(source, ending)?;
    let shown = source.display().to_string();
    let placement = place((kind, ending, &shown), (to.destination().await?, to.ending, &to.shown))?;
    let own_name = match placement {
        Placement::Into => Some(source_name(source)?.as_bytes().to_vec()),
        Placement::As | Placement::Contents => None,
    };
    let target = to.target(placement, own_name).await?;
    let (mut writer, stream) = writing();
    let path = source.to_owned();
    let packing = tokio::task::spawn_blocking(move || {
        let mut counts = Counts::default();
        pack(opened, &path, &target.name.unwrap_or_default(), &mut writer, &mut counts)?;
        writer.end().map_err(|source| PackError::Write { source })?;
        Ok::<_, PackError>(counts)
    });
    let unpacked = to.guest.tar_in(&target.folder, stream).await;
    match (packing.await.map_err(|source| EngineError::Worker { source })?, unpacked) {
        // The box's failure makes ours: its own says more.
        (Err(PackError::Write { .. }), Err(error)) => Err(error.into()),
        (Err(source), _) => Err(CopyError::Pack { source }.into()),
        (Ok(_), Err(error)) => Err(error.into()),
        (Ok(counts), Ok(())) => Ok(CopyReport { counts }),
    }
}

async fn copy_out(from: Inside<'_>, dest: &Path) -> Result<CopyReport, EngineError> {
    let ending = PathEnding::of(dest.as_os_str());
    let kind = from.source_kind().await?;
    let found = look_at_destination(dest, ending)?;
    let shown = dest.display().to_string();
    let placement = place((kind, from.ending, &from.shown), (found, ending, &shown))?;
    let (folder, rename) = match placement {
        Placement::Into => (open_folder(dest)?, from.top()),
        Placement::Contents => (open_folder(dest)?, None),
        Placement::As => {
            let (parent, name) = parent_and_name(dest)?;
            (open_folder(&parent)?, Some(name.as_bytes().to_vec()))
        }
    };
    let mut folder = Folder::new(folder);
    let room = folder.room().map_err(|source| CopyError::Destination { path: dest.to_owned(), source })?;
    let limits = Limits { content_bytes: room, ..Limits::default() };
    let naming = Naming { top: from.top(), folder: kind == SourceKind::Folder, rename };
    let (reader, receiving) = reading(from.tar(kind).await?);
    let (result, counts) = blocking(move || {
        let mut counts = Counts::default();
        let result = extract(reader, &naming, limits, &mut folder, &mut counts);
        (result, counts)
    })
    .await?;
    receiving.abort();
    report(result, counts)
}

async fn copy_across(from: Inside<'_>, to: Inside<'_>) -> Result<CopyReport, EngineError> {
    let kind = from.source_kind().await?;
    let placement = place((kind, from.ending, &from.shown), (to.destination().await?, to.ending, &to.shown))?;
    let target = to.target(placement, from.top()).await?;
    let naming = Naming { top: from.top(), folder: kind == SourceKind::Folder, rename: target.name };
    let (reader, receiving) = reading(from.tar(kind).await?);
    let (writer, stream) = writing();
    let relaying = tokio::task::spawn_blocking(move || {
        let mut counts = Counts::default();
        let result = relay(reader, &naming, writer, &mut counts);
        (result, counts)
    });
    let unpacked = to.guest.tar_in(&target.folder, stream).await;
    let (result, counts) = relaying.await.map_err(|source| EngineError::Worker { source })?;
    receiving.abort();
    match (result, unpacked) {
        // The receiver's failure makes ours: its own says more.
        (Ok(()) | Err(ExtractError::Write { .. }), Err(error)) => Err(error.into()),
        (result, _) => report(result, counts),
    }
}

fn relay(
    reader: BlockingReader,
    naming: &Naming,
    mut writer: BlockingWriter,
    counts: &mut Counts,
) -> Result<(), ExtractError> {
    let failed = |source| ExtractError::Write { path: EntryPath::ROOT, source };
    let mut relay = Relay::new(&mut writer);
    extract(reader, naming, Limits::default(), &mut relay, counts)?;
    relay.finish().map_err(failed)?;
    writer.end().map_err(failed)
}

fn report(result: Result<(), ExtractError>, counts: Counts) -> Result<CopyReport, EngineError> {
    let copied = CopyReport { counts };
    match result {
        Ok(()) => Ok(copied),
        Err(source) => Err(CopyError::Extract { source, copied }.into()),
    }
}
