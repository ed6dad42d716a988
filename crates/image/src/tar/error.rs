//! Why a tar stream was not read, or not to its end.

use std::io;

/// What is wrong with a tar stream.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It could not be read, or not be decompressed.
    #[error("the tar stream can't be read: {source}")]
    Read {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// It ends within an entry.
    #[error("the tar stream ends early")]
    Truncated,
    /// A header that is not one.
    #[error("the tar stream has a damaged header: {what}")]
    Header {
        /// Which part.
        what: &'static str,
    },
    /// Something this reader refuses to guess at.
    #[error("{path:?} in the tar stream is {what}, which is not supported")]
    Unsupported {
        /// Shortened.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// More than a limit allows.
    #[error("the tar stream holds more than is accepted: {what} (limit {limit})")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
}
