//! Misuse by the caller, noted.

use std::fmt;
use std::sync::{Arc, Mutex};

/// What a caller did that the contract doesn't allow, or left undone. Tests assert that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A specification came to the backend that its capabilities exclude: the caller must refuse it first.
    NotRefused {
        /// The feature.
        what: String,
    },
    /// The specification names another backend.
    WrongBackend {
        /// The name in it.
        named: String,
    },
    /// A record whose id is not 16 lower-case hex digits, or whose folder is missing or open to others.
    BadRecord {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// `create` of a sandbox that is there.
    CreatedTwice {
        /// Its name.
        name: String,
    },
    /// A verb on a sandbox that was never created or is removed.
    WithoutCreate {
        /// Its name.
        name: String,
        /// The verb.
        verb: &'static str,
    },
    /// `connect` to a sandbox that doesn't run.
    ConnectedWhileStopped {
        /// Its name.
        name: String,
    },
    /// Two verbs on one sandbox at once: its lock was not held.
    Concurrent {
        /// Its name.
        name: String,
        /// Both verbs.
        verbs: [&'static str; 2],
    },
    /// A graceful stop of what stands still: its commands could never end by themselves.
    StoppedWhilePaused {
        /// Its name.
        name: String,
    },
    /// A folder for a snapshot that is missing, not empty or open to others.
    BadSnapshotFolder {
        /// What is wrong with it.
        why: String,
    },
    /// A sandbox was to be restored as another than the snapshot is of, beyond its name.
    RestoredAsAnother {
        /// Its name.
        name: String,
    },
    /// A guest was used after its box had ended.
    UsedAfterEnd {
        /// The call.
        call: &'static str,
    },
    /// An ephemeral box was dropped instead of destroyed.
    DroppedWithoutDestroy,
    /// Output that nobody read to its end, of a command that was not killed.
    OutputNotDrained {
        /// The command's id.
        exec: String,
        /// `stdout` or `stderr`.
        stream: &'static str,
    },
    /// The record's folder was gone before `remove`.
    FolderRemovedFirst {
        /// The sandbox's name.
        name: String,
    },
    /// A box whose owner is gone was never reclaimed.
    NotReclaimed {
        /// The box's id.
        id: String,
    },
    /// A box was to be made from an image that nobody had prepared, or by its name alone.
    ImageNotPrepared {
        /// What is wrong.
        what: String,
    },
    /// A Dockerfile was to be built that isn't where the request says.
    BadBuild {
        /// Where it would be.
        dockerfile: std::path::PathBuf,
    },
    /// An ephemeral box still lives at the end.
    LeftAlive {
        /// The box's id.
        id: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The list of them, shared by all parts of one fake.
#[derive(Clone, Default)]
pub(super) struct Violations(Arc<Mutex<Vec<Violation>>>);

impl Violations {
    pub(super) fn note(&self, violation: Violation) {
        self.0.lock().expect("no panic while locked").push(violation);
    }

    pub(super) fn all(&self) -> Vec<Violation> {
        self.0.lock().expect("no panic while locked").clone()
    }
}
