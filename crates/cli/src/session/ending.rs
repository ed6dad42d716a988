//! What `--json` says of a command that has ended, whichever verb ran it.

use std::time::Duration;

use agentkernel_model::{ByteString, Outcome};
use serde::Serialize;

use super::KeptStream;

/// The fields that `run` and `exec` have in common.
#[derive(Serialize)]
pub(crate) struct Ending<'a> {
    exit_code: u8,
    outcome: Outcome,
    stdout: &'a ByteString,
    stderr: &'a ByteString,
    /// Whether either stream was longer than what is kept of it.
    truncated: bool,
    duration_ms: u128,
}

impl<'a> Ending<'a> {
    /// Of a command that took so long and wrote this.
    pub(crate) fn new(
        outcome: Outcome,
        stdout: &'a KeptStream,
        stderr: &'a KeptStream,
        duration: Duration,
    ) -> Self {
        Self {
            exit_code: outcome.exit_code(),
            outcome,
            stdout: &stdout.content,
            stderr: &stderr.content,
            truncated: stdout.truncated || stderr.truncated,
            duration_ms: duration.as_millis(),
        }
    }
}
