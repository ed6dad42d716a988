//! How long the steps of a machine's start and end take: debug lines, for the benchmark and the curious.

use std::time::Instant;

/// What `AGENTKERNEL_LOG` can name to see these lines alone.
const TARGET: &str = "agentkernel_backend_firecracker::step";

/// One step after another.
pub(crate) struct Steps {
    last: Instant,
}

impl Steps {
    /// The first step begins.
    pub(crate) fn begin() -> Self {
        Self { last: Instant::now() }
    }

    /// A step has ended, and the next begins.
    pub(crate) fn done(&mut self, step: &'static str) {
        let microseconds = u64::try_from(self.last.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(target: TARGET, step, microseconds);
        self.last = Instant::now();
    }
}
