//! `/vsock`.

use serde::Serialize;

/// The one way between host and guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vsock {
    /// The guest's address, 3 or more. Each machine has its own sockets, so all may have the same.
    pub guest_cid: u32,
    /// The socket that Firecracker makes, relative to its working directory; see [`crate::vsock`].
    pub uds_path: String,
}
