//! What is written down of one snapshot, and its format's version.

use std::path::Path;

use agentkernel_model::{SandboxName, SandboxSpec, SnapshotName};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::record::VersionOnly;

/// The version written by this build, as [`crate::RECORD_VERSION`] is for sandboxes. The content has a version of its
/// backend's own.
pub const SNAPSHOT_VERSION: u32 = 1;

/// One snapshot, durable and whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRecord {
    /// [`SNAPSHOT_VERSION`] of the build that wrote it.
    pub version: u32,
    /// The name; the folder's name too.
    pub name: SnapshotName,
    /// Of which sandbox.
    pub source: SandboxName,
    /// That sandbox's id: its name may be another's by now.
    pub source_id: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// What it takes on disk; its files are sparse.
    pub bytes: u64,
    /// How the source was asked for. Holds secrets: the file is readable by its owner only.
    pub spec: SandboxSpec,
}

/// Reads a record that is expected to be `name`'s; `path` is for messages.
pub(crate) fn parse(bytes: &[u8], name: &SnapshotName, path: &Path) -> Result<SnapshotRecord, StoreError> {
    let damaged = |why: String| StoreError::Damaged { path: path.to_owned(), why };
    let VersionOnly { version } =
        serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if version > SNAPSHOT_VERSION {
        let (path, known) = (path.to_owned(), SNAPSHOT_VERSION);
        return Err(StoreError::NewerVersion { path, found: version, known });
    }
    if version == 0 {
        return Err(damaged("format version 0 never existed".to_owned()));
    }
    let record: SnapshotRecord = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if record.name != *name {
        return Err(damaged(format!("it is the record of {:?}", record.name.as_str())));
    }
    Ok(record)
}
