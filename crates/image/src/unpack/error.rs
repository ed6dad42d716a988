//! Why a layer did not become a folder.

use std::io;

use super::entry_path::EntryPath;
use crate::Digest;
use crate::tar::TarError;

/// What is wrong with a layer, or with where it should go. Paths are shortened and escaped: a stranger wrote them.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Its tar stream.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// Its compression.
    #[error("it can't be decompressed: {source}")]
    Decompress {
        /// Why.
        source: io::Error,
    },
    /// A compression that nobody uses for layers any more.
    #[error("it is compressed with {what}; only gzip, zstd and none are supported")]
    Compression {
        /// Which.
        what: &'static str,
    },
    /// A path that leaves the layer or can't be one.
    #[error("path {path:?} is refused: {why}")]
    Path {
        /// Shortened.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// A path that goes through something that is no folder of this layer.
    #[error("path {path:?} is refused: {why}")]
    InTheWay {
        /// Which.
        path: EntryPath,
        /// What is there.
        why: &'static str,
    },
    /// A hard link to something that this layer doesn't hold as a file.
    #[error("hard link {path:?} is refused: its target {target:?} {why}")]
    HardLink {
        /// The link.
        path: EntryPath,
        /// What it should be another name of.
        target: EntryPath,
        /// What is wrong with that.
        why: &'static str,
    },
    /// An owner that no box has.
    #[error("{path:?} belongs to user {uid} and group {gid}; at most 65535 is supported")]
    Owner {
        /// Which.
        path: EntryPath,
        /// Its owner.
        uid: u64,
        /// Its group.
        gid: u64,
    },
    /// More than a limit allows.
    #[error("it holds more than is accepted: {what} (limit {limit})")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
    /// Not the content that the image's configuration names.
    #[error("its content has digest {found} instead of {expected}; nothing of it was kept")]
    WrongContent {
        /// As the configuration says.
        expected: Digest,
        /// As it is.
        found: Digest,
    },
    /// The file system refused.
    #[error("could not write {path:?}: {source}")]
    Write {
        /// Which.
        path: EntryPath,
        /// Why.
        source: io::Error,
    },
}
