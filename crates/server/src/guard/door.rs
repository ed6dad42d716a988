//! Where a connection came in.

use std::fmt;
use std::net::SocketAddr;

/// The door of one connection: in the extensions of each of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// TCP.
    Tcp {
        /// The other end.
        peer: SocketAddr,
        /// Our end: the address that the client meant, even where the server listens on all.
        local: SocketAddr,
        /// Whether it is encrypted.
        tls: bool,
        /// The user of the other end's process, where it is on this machine and the kernel tells.
        uid: Option<u32>,
    },
    /// A unix socket.
    Unix {
        /// The user of the other end's process, as the kernel says it (SO_PEERCRED of unix(7)).
        uid: u32,
    },
}

impl Door {
    /// Whether the other end is the server's own user, or root, by what the kernel says.
    pub fn is_ours(&self) -> bool {
        let uid = match self {
            Self::Tcp { uid, .. } => *uid,
            Self::Unix { uid } => Some(*uid),
        };
        uid.is_some_and(|uid| uid == 0 || uid == rustix::process::geteuid().as_raw())
    }

    /// Whether the other end is on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp { peer, .. } => peer.ip().to_canonical().is_loopback(),
            Self::Unix { .. } => true,
        }
    }
}

impl fmt::Display for Door {
    /// As the audit log has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { peer, .. } => peer.fmt(f),
            Self::Unix { uid } => write!(f, "unix:uid={uid}"),
        }
    }
}
