//! Durable sandbox records: a folder each, atomic replace, a lock each, a format version, crash recovery. And the leases of
//! boxes without a record.
//!
//! ```text
//! <state>/sandboxes/<name>/record.json   what the sandbox is and where it is in its life
//!                         /record.lock   flock(2) while a verb works on it; holds the holder's process id
//!                         /owner.lock    flock(2) while the `run` that made an ephemeral sandbox lives
//!                         /files/        content of files that the first start puts into the box
//!                         /backend/      the backend's own
//! <state>/sandboxes/.new-*               being made: renamed to its name when complete
//! <state>/sandboxes/.trash-*             being deleted: renamed from its name first
//! <state>/snapshots/<name>/record.json   of what and when; written last: without it the folder is half a snapshot
//!                         /record.lock   flock(2) while it is written or removed, shared while it is read
//!                         /backend/      the backend's own
//! <state>/snapshots/.temporary-*         what a fork copies from, as long as that takes
//! ```
//!
//! Names of sandboxes start with a letter or digit, so the dotted names can't meet them. All calls block; the files are
//! small. Nothing here knows a backend.

mod crash;
mod error;
mod folders;
mod lease;
mod locked;
mod place;
mod record;
mod removal;
mod snapshot;
mod snapshots;
mod store;
mod sweep;

pub use error::StoreError;
pub use lease::{Lease, random_id};
pub use locked::{LockedRecord, Ownership};
pub use record::{ForwarderProcess, RECORD_VERSION, SandboxRecord, StagedFile};
pub use snapshot::{SNAPSHOT_VERSION, SnapshotRecord};
pub use snapshots::{NewSnapshot, OpenSnapshot, SnapshotStore, TemporaryFolder, allocated_bytes};
pub use store::{EMPTY_DIR, RecordStamp, Store};
pub use sweep::Swept;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tests;
