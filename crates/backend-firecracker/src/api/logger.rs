//! `/logger`: Firecracker's own messages. Without it they go to its standard output.

use serde::Serialize;

/// Where, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Logger {
    /// A file or named pipe that exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_path: Option<String>,
    /// The least that is told.
    pub level: LogLevel,
    /// Whether each line names its level.
    pub show_level: bool,
    /// Whether each line names its place in Firecracker's source.
    pub show_log_origin: bool,
}

/// How important a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may fail.
    Warning,
    /// What happens.
    Info,
    /// For Firecracker's developers.
    Debug,
    /// No message at all.
    Off,
}
