//! Why a copy failed.

use std::path::PathBuf;

use agentkernel_model::{BoxPathError, NameError};

use super::CopyReport;
use crate::error::ErrorKind;
use crate::extract::ExtractError;
use crate::pack::PackError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// An end without a path.
    #[error("the path of a copy is empty; write a host path or NAME:PATH")]
    EmptyPath,
    /// `-` as an end.
    #[error("'-' can't be copied from or to; pipe through `agentkernel exec NAME -- tar ...` instead")]
    StandardStream,
    /// Neither end is a sandbox.
    #[error(
        "one end of a copy must be in a sandbox, written NAME:PATH; {from} and {to} are both on this machine"
    )]
    BothOnHost {
        /// One end.
        from: String,
        /// The other.
        to: String,
    },
    /// Not a name.
    #[error("{source}; a host path with a colon is written with a leading './'")]
    Name {
        /// Why.
        #[from]
        source: NameError,
    },
    /// Not a path in a box.
    #[error(transparent)]
    Path(#[from] BoxPathError),
    /// The source isn't there or can't be read.
    #[error("could not read {path}: {source}", path = path.display())]
    Source {
        /// On the host.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `file/` or `file/.` as the source.
    #[error("{path} is not a folder; leave out what follows its name")]
    SourceNotFolder {
        /// As written.
        path: String,
    },
    /// A device, socket or pipe as the source.
    #[error("{path} is neither a file nor a folder nor a link, and can't be copied")]
    SourceSpecial {
        /// As written.
        path: String,
    },
    /// A folder of procfs or sysfs as the source.
    #[error(
        "{path} holds what the kernel makes up when it is read, and can't be copied whole; copy single files of it"
    )]
    SourceKernel {
        /// In the sandbox.
        path: String,
    },
    /// A file that said it was empty and has no end.
    #[error(
        "{path} doesn't tell its size and has more than {most_mib} MiB; copy it to a plain file inside first"
    )]
    SourceEndless {
        /// In the sandbox.
        path: String,
        /// What is read at most.
        most_mib: u64,
    },
    /// Reading a file in a sandbox failed.
    #[error("could not read {path} in the sandbox: {source}")]
    SourceInside {
        /// In the sandbox.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The folder to copy into isn't there.
    #[error("{path} does not exist; make the folder first")]
    DestinationMissing {
        /// As written.
        path: String,
    },
    /// A folder can't go where a file is.
    #[error("{path} is not a folder; choose another destination")]
    DestinationNotFolder {
        /// As written.
        path: String,
    },
    /// A link of the host's as the destination: an earlier copy from a box may have put it there.
    #[error("{path} is a symbolic link, and a copy doesn't write through links; name its target, or end it with '/'", path = path.display())]
    DestinationLink {
        /// On the host.
        path: PathBuf,
    },
    /// The destination can't be used.
    #[error("could not use {path} as the destination: {source}", path = path.display())]
    Destination {
        /// On the host.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Reading the host's files failed underway.
    #[error("{source}; the copy is incomplete")]
    Pack {
        /// Why.
        source: PackError,
    },
    /// Writing what came from a box failed underway, or the box sent what it must not.
    #[error("{source}; copied until then: {copied}")]
    Extract {
        /// Why.
        source: ExtractError,
        /// What is there already.
        copied: CopyReport,
    },
}

impl CopyError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::EmptyPath
            | Self::StandardStream
            | Self::BothOnHost { .. }
            | Self::Name { .. }
            | Self::Path(_)
            | Self::SourceNotFolder { .. }
            | Self::SourceSpecial { .. }
            | Self::SourceKernel { .. }
            | Self::SourceEndless { .. }
            | Self::DestinationNotFolder { .. }
            | Self::DestinationLink { .. } => ErrorKind::Invalid,
            Self::DestinationMissing { .. } => ErrorKind::NotFound,
            Self::Source { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::SourceInside { .. }
            | Self::Source { .. }
            | Self::Destination { .. }
            | Self::Pack { .. }
            | Self::Extract { .. } => ErrorKind::Failed,
        }
    }
}
