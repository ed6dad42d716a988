//! `/metrics`: Firecracker's figures, as lines of JSON.

use serde::Serialize;

/// Where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// A file or named pipe that exists.
    pub metrics_path: String,
}
