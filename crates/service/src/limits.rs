//! How much the server takes on. What is over a limit is refused, never silently cut, except output, which says so.

use std::time::Duration;

/// The limits of one server; `[api.limits]` of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Commands that run at the same time: `run` and `exec` of all callers.
    pub max_concurrent_runs: u32,
    /// Sandboxes that are started at the same time: more would only make each other slower.
    pub max_concurrent_starts: u32,
    /// Requests that wait for one of them.
    pub max_queued: u32,
    /// How long one waits.
    pub queue_timeout: Duration,
    /// The longest time that a command may be given.
    pub max_timeout: Duration,
    /// What a command is given where its request names no time.
    pub default_timeout: Duration,
    /// The most of stdout and of stderr that a collected answer holds each, in bytes; also where a request names none.
    pub max_output_bytes: u64,
    /// The largest body of a request in JSON, in bytes.
    pub max_body_bytes: u64,
    /// The largest raw body: a file or an archive, in bytes.
    pub max_upload_bytes: u64,
    /// The largest file that is put into JSON, in bytes.
    pub max_file_bytes_in_json: u64,
    /// Commands of one batch.
    pub max_batch: u32,
    /// Terminals at the same time.
    pub max_terminals: u32,
    /// The log of a detached command, in bytes; the oldest output is dropped.
    pub detached_log_bytes: u64,
}

const MIB: u64 = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        Self {
            max_concurrent_runs: 256,
            max_concurrent_starts: processors.saturating_mul(4),
            max_queued: 1024,
            queue_timeout: Duration::from_secs(30),
            max_timeout: Duration::from_secs(24 * 3600),
            default_timeout: Duration::from_secs(600),
            max_output_bytes: 8 * MIB,
            max_body_bytes: 64 * MIB,
            max_upload_bytes: 16 * 1024 * MIB,
            max_file_bytes_in_json: 32 * MIB,
            max_batch: 1000,
            max_terminals: 256,
            detached_log_bytes: 16 * MIB,
        }
    }
}
