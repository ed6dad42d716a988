//! All that a verb can fail with; exit codes and error kinds derive from the variant in one place.

use std::path::PathBuf;

use agentkernel_backend::BackendError;
use agentkernel_model::{ByteString, NameError, Phase, PublishedPort, exit_code};
use agentkernel_store::StoreError;

use crate::copy::CopyError;
use crate::plan::PlanError;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backend or the box.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// What was asked for can't become a sandbox.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// No backend by that name in this build.
    #[error("unknown backend {name:?}; this agentkernel knows: {known}")]
    UnknownBackend {
        /// What was asked for.
        name: String,
        /// The known names.
        known: String,
    },
    /// Nothing can make a box here.
    #[error("no backend is ready on this machine:{reasons}\nrun `agentkernel doctor` for the whole picture")]
    NoBackendReady {
        /// One line a backend: why not, and the fix.
        reasons: String,
    },
    /// An image that isn't here and can't be had.
    #[error("{why}{because}; {fix}")]
    NoImage {
        /// Whether it is known not to be there; else nobody who could know answers.
        absent: bool,
        /// What is missing and why.
        why: String,
        /// Why it is that image, where the user didn't name it.
        because: String,
        /// What would work instead.
        fix: String,
    },
    /// No engine that could build an image.
    #[error(
        "building a Dockerfile for backend {backend:?} needs a container engine, and none is ready:{reasons}\nor name an \
         image that is built already with --image"
    )]
    NoBuilder {
        /// Who wants the image.
        backend: String,
        /// One line an engine: why not, and the fix.
        reasons: String,
    },
    /// The content that a sandbox was made from was removed.
    #[error(
        "the image of sandbox {sandbox:?} isn't here any more: {image} ({short}); fetch it with `agentkernel image pull \
         --backend {backend} {image}`, and if that is another by now, make the sandbox anew"
    )]
    ImageGone {
        /// The sandbox.
        sandbox: String,
        /// What the image was called.
        image: String,
        /// The beginning of its id.
        short: String,
        /// Whose image it was.
        backend: String,
        /// What the start failed with.
        source: Box<EngineError>,
    },
    /// A record that can't be read might need an image.
    #[error(
        "which images are in use isn't known: sandbox {name:?}: {source}; remove it first with `agentkernel remove \
         --force {name}`"
    )]
    ImagesUnknown {
        /// The sandbox.
        name: String,
        /// Why its record can't be read.
        source: StoreError,
    },
    /// The same of a snapshot's.
    #[error(
        "which images are in use isn't known: snapshot {name:?}: {source}; remove it first with `agentkernel snapshot remove \
         {name}`"
    )]
    ImagesOfSnapshotUnknown {
        /// The snapshot.
        name: String,
        /// Why its record can't be read.
        source: StoreError,
    },
    /// A name that was made from another's is none.
    #[error("{0}; choose a name")]
    Name(#[from] NameError),
    /// A fork into none, or into too many.
    #[error("a sandbox can't be forked into {count}: from 1 to {most} at a time")]
    ForkCount {
        /// What was asked for.
        count: u32,
        /// The most.
        most: u32,
    },
    /// A sandbox stays with the backend that made it.
    #[error(
        "sandbox {sandbox:?} was made by backend {recorded:?} and can't be used with {requested:?}; leave out --backend, \
         or make another sandbox"
    )]
    OtherBackend {
        /// The sandbox.
        sandbox: String,
        /// Its own.
        recorded: String,
        /// The one asked for.
        requested: String,
    },
    /// Removing a running sandbox takes more than `remove`.
    #[error(
        "sandbox {name:?} is running; stop it with `agentkernel stop {name}` or remove it as it is with --force"
    )]
    StillRunning {
        /// The sandbox.
        name: String,
    },
    /// It has to run for that.
    #[error("sandbox {name:?} is {phase}; start it with `agentkernel start {name}`")]
    NotRunning {
        /// The sandbox.
        name: String,
        /// Where it is.
        phase: Phase,
    },
    /// An environment variable that no process can be given.
    #[error("environment variable {name:?} can't be passed: {why}")]
    Variable {
        /// Its name; the value may be a secret.
        name: ByteString,
        /// Why.
        why: &'static str,
    },
    /// An argument that no process can be given.
    #[error("argument {position} of the command holds a NUL byte, which no program can be given")]
    Argument {
        /// Counted from 0, the program.
        position: usize,
    },
    /// A file of `[[files]]` or its copy in the sandbox's folder.
    #[error("could not read {path} for the sandbox: {source}; correct its entry in [[files]]", path = path.display())]
    File {
        /// On the host.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that a sandbox was to start with.
    #[error("could not make {dest} ready for the sandbox: {source}")]
    FileBytes {
        /// In the box.
        dest: agentkernel_model::BoxPath,
        /// Why.
        source: std::io::Error,
    },
    /// A published port that can't be opened on the host.
    #[error("could not listen on {address}:{port} for a published port: {source}; choose another with -P",
        address = port.address, port = port.host)]
    Listen {
        /// As it was asked for.
        port: PublishedPort,
        /// Why: most often "address already in use".
        source: std::io::Error,
    },
    /// The process that keeps published ports open.
    #[error("could not {action} the process that keeps the published ports of {name:?} open: {source}")]
    Forwarder {
        /// A verb.
        action: &'static str,
        /// The sandbox.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel gave no random bytes.
    #[error("could not get random bytes for a sandbox's id: {source}")]
    Random {
        /// Why.
        source: std::io::Error,
    },
    /// A worker thread died: a bug of ours.
    #[error("a worker thread of agentkernel failed: {source}; please report this")]
    Worker {
        /// How.
        source: tokio::task::JoinError,
    },
}

/// What kind of failure it is, as an HTTP status would say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request itself is wrong.
    Invalid,
    /// The thing isn't there.
    NotFound,
    /// The thing is there already.
    AlreadyExists,
    /// Not in this phase, or busy.
    Conflict,
    /// The backend can't honour it.
    Unsupported,
    /// The backend isn't ready.
    Unavailable,
    /// The command could not be started.
    CannotExec,
    /// A step failed.
    Failed,
}

impl EngineError {
    /// The exit code: 126 or 127 for a command that could not be started, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Backend(BackendError::CannotExec(why)) => why.exit_code(),
            _ => exit_code::OURS,
        }
    }

    /// The kind. One exhaustive match; no text is looked at.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => store_kind(error),
            Self::Backend(error) => backend_kind(error),
            Self::Copy(error) => error.kind(),
            Self::UnknownBackend { .. }
            | Self::Plan(_)
            | Self::Variable { .. }
            | Self::Argument { .. }
            | Self::Name(_)
            | Self::ForkCount { .. }
            | Self::File { .. } => ErrorKind::Invalid,
            Self::NoBackendReady { .. } | Self::NoBuilder { .. } | Self::NoImage { absent: false, .. } => {
                ErrorKind::Unavailable
            }
            Self::NoImage { absent: true, .. } | Self::ImageGone { .. } => ErrorKind::NotFound,
            Self::ImagesUnknown { source, .. } | Self::ImagesOfSnapshotUnknown { source, .. } => {
                store_kind(source)
            }
            Self::OtherBackend { .. }
            | Self::StillRunning { .. }
            | Self::NotRunning { .. }
            | Self::Listen { .. } => ErrorKind::Conflict,
            Self::FileBytes { .. } | Self::Forwarder { .. } | Self::Random { .. } | Self::Worker { .. } => {
                ErrorKind::Failed
            }
        }
    }
}

fn store_kind(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::NotFound { .. } | StoreError::SnapshotNotFound { .. } => ErrorKind::NotFound,
        StoreError::AlreadyExists { .. } | StoreError::SnapshotExists { .. } => ErrorKind::AlreadyExists,
        StoreError::Busy { .. }
        | StoreError::SnapshotBusy { .. }
        | StoreError::SnapshotsFull { .. }
        | StoreError::StillMounted { .. } => ErrorKind::Conflict,
        StoreError::NewerVersion { .. }
        | StoreError::Damaged { .. }
        | StoreError::ForeignOwner { .. }
        | StoreError::Io { .. } => ErrorKind::Failed,
    }
}

pub(crate) fn backend_kind(error: &BackendError) -> ErrorKind {
    match error {
        BackendError::NotFound { .. } | BackendError::NoImage { .. } => ErrorKind::NotFound,
        BackendError::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        BackendError::WrongPhase { .. } => ErrorKind::Conflict,
        BackendError::Unsupported { .. } => ErrorKind::Unsupported,
        BackendError::Unavailable { .. } => ErrorKind::Unavailable,
        BackendError::Invalid { .. } => ErrorKind::Invalid,
        BackendError::CannotExec(_) => ErrorKind::CannotExec,
        BackendError::BoxEnded { .. } | BackendError::HostileGuest { .. } | BackendError::Runtime { .. } => {
            ErrorKind::Failed
        }
    }
}
