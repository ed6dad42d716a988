//! What can go wrong between us and a VMM.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::version::OLDEST_VERSION;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Firecracker says no.
    #[error("firecracker refused {request} ({status}): {fault_message}")]
    Refused {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// Its reason, bounded and without control characters.
        fault_message: String,
    },
    /// Nobody listens on the socket.
    #[error("firecracker's socket {} can't be reached for {request}", socket.display())]
    Unreachable {
        /// Method and path.
        request: String,
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection ended in the middle, or what came is no answer.
    #[error("firecracker's answer to {request} is broken: {what}")]
    Broken {
        /// Method and path.
        request: String,
        /// In what way.
        what: String,
    },
    /// No whole answer within the time.
    #[error("firecracker did not answer {request} within {} ms", limit.as_millis())]
    TooSlow {
        /// Method and path.
        request: String,
        /// The time.
        limit: Duration,
    },
    /// It is another release than what this crate knows.
    #[error("firecracker {found} is too old: {OLDEST_VERSION} or later is needed; run `agentkernel setup`")]
    WrongVersion {
        /// What it calls itself, bounded and without control characters.
        found: String,
    },
}

/// The most characters of a foreign text in a message.
const MOST_CHARACTERS: usize = 1000;

/// Foreign text for a message: one line, bounded.
pub(crate) fn printable(text: &str) -> String {
    let clean = |character: char| if character.is_control() { ' ' } else { character };
    text.trim().chars().map(clean).take(MOST_CHARACTERS).collect()
}
