//! `/entropy`: random numbers of the host for the guest.

use serde::Serialize;

use super::RateLimiter;

/// The device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Entropy {
    /// Its limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}
