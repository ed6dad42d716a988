//! Why a stream could not be made.

use std::io;
use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file of the host.
    #[error("could not read {path}: {source}", path = path.display())]
    Read {
        /// On the host.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Who receives the stream has gone; its own error says why.
    #[error("the receiver of the copy ended: {source}")]
    Write {
        /// Why.
        source: io::Error,
    },
}
