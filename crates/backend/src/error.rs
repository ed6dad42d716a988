//! The errors of backends and guests. Exit codes and HTTP statuses are derived from the variant, never from text.

use agentkernel_model::{CannotExec, PhaseError};

/// What can go wrong between the engine and a box.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A sandbox, file, execution or image that isn't there.
    #[error("{what} does not exist")]
    NotFound {
        /// Its kind and name: `sandbox "x"`, `/etc/nope in the sandbox`.
        what: String,
    },
    /// Something by that name is there already.
    #[error("{what} already exists")]
    AlreadyExists {
        /// Its kind and name.
        what: String,
    },
    /// The sandbox can't do that now.
    #[error("sandbox {name:?}: {source}")]
    WrongPhase {
        /// The sandbox.
        name: String,
        /// Where it is and what was asked.
        source: PhaseError,
    },
    /// The backend can't honour a part of the request. Nothing was changed.
    #[error("backend {backend:?} can't enforce or provide {what}: {fix}")]
    Unsupported {
        /// The backend's name.
        backend: String,
        /// The part, by name.
        what: String,
        /// Why, and what the user can do.
        fix: String,
    },
    /// The backend isn't ready on this machine.
    #[error("backend {backend:?} is not ready: {why}; {fix}")]
    Unavailable {
        /// The backend's name.
        backend: String,
        /// Why.
        why: String,
        /// What the user can do.
        fix: String,
    },
    /// An image that isn't here and may not be fetched, or that nobody has by that name.
    #[error("{why}; {fix}")]
    NoImage {
        /// Which, and who hasn't got it.
        why: String,
        /// What would work instead.
        fix: String,
    },
    /// The request itself is wrong (a file where a folder is needed, a path that leaves the box, a value too large).
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// A command that could not be started.
    #[error(transparent)]
    CannotExec(#[from] CannotExec),
    /// The box came to an end while it was in use.
    #[error("the sandbox ended: {why}")]
    BoxEnded {
        /// What is known of it.
        why: String,
    },
    /// The box broke the protocol; it is not to be trusted further.
    #[error("the sandbox sent what it must not: {what}")]
    HostileGuest {
        /// What it sent.
        what: String,
    },
    /// A step failed.
    #[error("could not {action}: {source}")]
    Runtime {
        /// The step, as a verb phrase: `mount /usr`.
        action: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BackendError {
    /// A [`BackendError::Runtime`].
    pub fn runtime(
        action: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Runtime { action: action.into(), source: source.into() }
    }
}
