//! How much one connection may take, and how many there may be.

use std::time::Duration;

/// The limits of a server's connections. What a request may ask for is limited by [`agentkernel_service::Limits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at the same time, over all doors. One more is told to come again.
    pub connections: usize,
    /// Connections of one address (one user, on the unix socket).
    pub connections_per_peer: usize,
    /// The longest head of a request: its line and its headers. Longer: 431.
    pub head_bytes: usize,
    /// The most headers of a request. More: 431.
    pub headers: usize,
    /// How long a head may take from its first byte to its last.
    pub head_timeout: Duration,
    /// How long a connection may be idle between two requests, or before its first.
    pub idle_timeout: Duration,
    /// How long a body may pause.
    pub body_timeout: Duration,
    /// How long the handshake of TLS may take.
    pub handshake_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_peer: 2048,
            head_bytes: 64 << 10,
            headers: 100,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
            body_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
        }
    }
}
