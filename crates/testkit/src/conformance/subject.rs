//! What the suite is run on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::Backend;
use agentkernel_model::ImageRef;

/// One backend, fresh for one case.
pub struct Subject {
    /// The backend.
    pub backend: Arc<dyn Backend>,
    /// The same machine, as another process would see it: a second instance that shares nothing in memory.
    pub again: Box<dyn Fn() -> Arc<dyn Backend>>,
    /// What boxes start from: anything with a POSIX shell and the usual small programs.
    pub image: ImageRef,
    /// Cases whose commands a test double can't run, by id, with why. Empty for every real backend.
    pub cannot_express: &'static [(&'static str, &'static str)],
    /// The processor time of all boxes by the host's clock, where a box counts by a clock of its own: a machine that is kept
    /// from its processor for a moment may not know it. `None` where boxes say it right.
    pub processor_time: Option<Box<dyn Fn() -> Duration>>,
    /// What is left on the machine when all of a case's boxes are gone: must be nothing.
    pub leftovers: Box<dyn Fn() -> Vec<String>>,
}

/// Why a suite can't run here at all.
#[derive(Debug, Clone)]
pub struct Skipped(pub String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
