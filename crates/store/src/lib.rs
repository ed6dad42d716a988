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
//! ```
//!
//! Names of sandboxes start with a letter or digit, so the dotted names can't meet them. All calls block; the files are
//! small. Nothing here knows a backend.

mod crash;
mod error;
mod lease;
mod locked;
mod place;
mod record;
mod removal;
mod store;
mod sweep;

pub use error::StoreError;
pub use lease::{Lease, random_id};
pub use locked::{LockedRecord, Ownership};
pub use record::{ForwarderProcess, RECORD_VERSION, SandboxRecord, StagedFile};
pub use store::{EMPTY_DIR, RecordStamp, Store};
pub use sweep::Swept;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
