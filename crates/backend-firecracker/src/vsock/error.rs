//! What can go wrong on the way to a guest.

use std::io;
use std::time::Duration;

/// Why there is no connection to a guest.
#[derive(Debug, thiserror::Error)]
pub enum VsockError {
    /// The machine's VMM does not listen.
    #[error("the machine's vsock can't be reached for port {port}")]
    Unreachable {
        /// The guest's port.
        port: u32,
        /// Why.
        source: io::Error,
    },
    /// Nobody in the guest listens at this port: the VMM closed the connection instead of saying so.
    #[error("nobody in the machine listens at port {port}")]
    Refused {
        /// The guest's port.
        port: u32,
    },
    /// Something else was said than the protocol allows.
    #[error("the machine's vsock answered port {port} with what is no answer: {what}")]
    Broken {
        /// The port: the guest's, or for a knock the host's.
        port: u32,
        /// What came.
        what: String,
    },
    /// Nothing came in time.
    #[error("the machine did not speak at port {port} within {} ms", limit.as_millis())]
    TooSlow {
        /// The port: the guest's, or for a knock the host's.
        port: u32,
        /// The time.
        limit: Duration,
    },
    /// The host's own side can't be made.
    #[error("waiting for the machine's agent at port {port} failed")]
    Listen {
        /// The host's port.
        port: u32,
        /// Why.
        source: io::Error,
    },
}
