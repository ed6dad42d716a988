//! What can go wrong with a machine.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::ApiError;
use crate::vsock::VsockError;

/// Why a machine can't be started, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    /// What was asked for can't be.
    #[error("{what}")]
    Invalid {
        /// What is wrong, and how it would be right.
        what: String,
    },
    /// This VMM can't do it; another may.
    #[error("{vmm} can't {what}")]
    Unsupported {
        /// Which VMM.
        vmm: &'static str,
        /// What it can't.
        what: String,
    },
    /// A program is not there or not one.
    #[error("{} can't be started; run `agentkernel setup`, or name it in [firecracker]", program.display())]
    NoProgram {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something on the host could not be made ready.
    #[error("could not {action}")]
    Prepare {
        /// What.
        action: String,
        /// Why.
        source: io::Error,
    },
    /// A process of the machine ended when it should not have.
    #[error("{program} ended while {during}: {words}")]
    Ended {
        /// Its name.
        program: String,
        /// What it was waited for.
        during: &'static str,
        /// The last that it and the guest's console said, bounded and without control characters.
        words: String,
    },
    /// It lives, but does not get there.
    #[error("{program} did not get to {until} within {} ms: {words}", limit.as_millis())]
    TooSlow {
        /// Its name.
        program: String,
        /// What it was waited for.
        until: &'static str,
        /// For how long.
        limit: Duration,
        /// As above.
        words: String,
    },
    /// Firecracker's API.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The way to the guest.
    #[error(transparent)]
    Vsock(#[from] VsockError),
}

impl VmmError {
    /// For `map_err` on steps of the host's own.
    pub(super) fn prepare(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Prepare { action, source }
    }

    pub(super) fn invalid<Any>(what: impl Into<String>) -> Result<Any, Self> {
        Err(Self::Invalid { what: what.into() })
    }
}
