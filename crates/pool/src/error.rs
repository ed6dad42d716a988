//! What can go wrong with a pool.

use std::io;

use agentkernel_backend::BackendError;

/// Why boxes could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// There is no pool.
    #[error("there is no pool: it is switched off; set enabled = true in [pool]")]
    Disabled,
    /// No backend of that name is in the pool.
    #[error("the pool has no backend {name:?}")]
    UnknownBackend {
        /// The name.
        name: String,
    },
    /// Boxes that belong to one request only.
    #[error("sandboxes with {what} are never made ahead: leave it out")]
    Unpoolable {
        /// What makes them so.
        what: &'static str,
    },
    /// More than the settings allow.
    #[error("{count} sandboxes of one kind are more than the pool keeps ({max}); raise max in [pool]")]
    TooMany {
        /// What was asked for.
        count: u32,
        /// What is allowed.
        max: u32,
    },
    /// More memory than the settings allow.
    #[error(
        "{count} sandboxes with {each_mib} MiB of memory each are more than the pool may hold ({max_mib} MiB); raise \
         max_memory in [pool], or ask for fewer"
    )]
    TooMuchMemory {
        /// What was asked for.
        count: u32,
        /// One's limit.
        each_mib: u32,
        /// What is allowed.
        max_mib: u32,
    },
    /// As many kinds are kept for good as there may be.
    #[error("the pool keeps {max} kinds of sandboxes already; raise max_templates in [pool]")]
    TooManyKinds {
        /// What is allowed.
        max: u32,
    },
    /// The first that failed.
    #[error("a sandbox could not be made ready: {why}")]
    Start {
        /// Why.
        why: String,
    },
    /// The pool is being emptied.
    #[error("the pool was emptied meanwhile")]
    Drained,
}

/// Why a box didn't get from one process to another.
#[derive(Debug, thiserror::Error)]
pub enum TransitError {
    /// The socket failed.
    #[error("could not {action}: {source}")]
    Socket {
        /// The step, as a verb phrase.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The answer isn't what it has to be.
    #[error("the daemon answered strangely: {what}")]
    Strange {
        /// What is wrong with it.
        what: String,
    },
    /// The request was refused.
    #[error("the daemon answered with status {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The socket belongs to somebody else.
    #[error("the daemon's socket belongs to user {uid}, who is somebody else")]
    Stranger {
        /// Whose it is.
        uid: u32,
    },
    /// The box is of a kind that stays where it was made.
    #[error("the sandbox can't be given to another process")]
    NotMovable,
    /// The backend refused it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
