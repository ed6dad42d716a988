//! Why a stream was not taken, or not to its end.

use std::io;

use super::EntryPath;

/// What is wrong with a stream.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It could not be read: the box ended, or its side of the copy failed.
    #[error("the stream from the sandbox broke: {source}")]
    Read {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// It ends before its end mark.
    #[error("the stream from the sandbox ended early")]
    Truncated,
    /// A header that is not one.
    #[error("the sandbox sent a damaged header: {what}")]
    Header {
        /// Which part.
        what: &'static str,
    },
    /// A path that leaves the destination or can't be one.
    #[error("the sandbox sent the path {path:?}, which is refused: {why}")]
    Path {
        /// Shortened.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// More than a limit allows.
    #[error("the sandbox sent more than is accepted: {what} (limit {limit})")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
    /// An entry that nobody asked for.
    #[error("the sandbox sent {path}, which was not asked for")]
    Unasked {
        /// Its path.
        path: EntryPath,
    },
    /// A kind of entry that can't be written faithfully.
    #[error("the sandbox sent {path} as {what}, which is not supported")]
    Unsupported {
        /// Its path.
        path: EntryPath,
        /// The kind.
        what: &'static str,
    },
    /// A hard link to something that this stream didn't bring as a file.
    #[error("the sandbox sent {path} as a hard link to {target}, which is not a file of the same copy")]
    HardLink {
        /// Its path.
        path: EntryPath,
        /// What it would link to.
        target: EntryPath,
    },
}

/// Why an extraction ended before its stream.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The stream.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Something in the destination stands in the way: a link where a folder is needed, a folder where a file goes.
    #[error("{path} is in the way in the destination: {why}")]
    InTheWay {
        /// Its path below the destination.
        path: EntryPath,
        /// What it is.
        why: &'static str,
    },
    /// The destination's file system refused.
    #[error("could not write {path}: {source}")]
    Write {
        /// Its path below the destination.
        path: EntryPath,
        /// Why.
        source: io::Error,
    },
}
