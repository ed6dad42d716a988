//! `/serial`: the serial console. Without it, and before Firecracker 1.14, it goes to Firecracker's standard output.

use serde::Serialize;

use super::TokenBucket;

/// Where, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Serial {
    /// A file or named pipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_out_path: Option<String>,
    /// What is above it is dropped. Later than 1.14.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<TokenBucket>,
}
