//! Why a connection is over.

use crate::{FrameError, MessageError, Stream};

/// Why a connection is over. Every channel of it fails with the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The other side closed it.
    #[error("the connection was closed by the other side")]
    Closed,
    /// This side has let go of it.
    #[error("the connection was closed by this side")]
    Dropped,
    /// Reading or writing failed.
    #[error("the connection failed: {why}")]
    Io {
        /// The system's reason.
        why: String,
    },
    /// Not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The other side is something else.
    #[error("the other side doesn't speak the agent protocol")]
    NotOurs,
    /// The other side is too old or too new.
    #[error("the other side speaks version {theirs} of the agent protocol, this one version {ours}")]
    Version {
        /// Ours.
        ours: u32,
        /// Theirs.
        theirs: u32,
    },
    /// A frame that makes no sense here.
    #[error("an unexpected frame on channel {channel}: {what}")]
    Unexpected {
        /// The channel.
        channel: u32,
        /// What was wrong with it.
        what: &'static str,
    },
    /// More bytes than were granted.
    #[error("channel {channel} got more bytes of {stream:?} than were granted")]
    Overrun {
        /// The channel.
        channel: u32,
        /// Its stream.
        stream: Stream,
    },
    /// Too many messages that nobody has taken yet.
    #[error("channel {channel} was flooded with messages")]
    Flood {
        /// The channel.
        channel: u32,
    },
    /// Too many channels at once.
    #[error("there are too many channels")]
    TooManyChannels,
    /// A request longer than is allowed.
    #[error("a request is longer than is allowed")]
    RequestTooLong,
}

impl From<ConnectionError> for std::io::Error {
    fn from(error: ConnectionError) -> Self {
        std::io::Error::new(std::io::ErrorKind::ConnectionReset, error)
    }
}
