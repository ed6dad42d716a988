//! The very socket that a request came in by.

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A second descriptor of the unix socket that a request came in by, in its extensions: an upgraded request can send
/// descriptors over it.
#[derive(Debug, Clone)]
pub struct UnixSocket(pub Arc<OwnedFd>);
