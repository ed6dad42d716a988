//! What is written down of one sandbox, and its format's version.

use std::path::{Path, PathBuf};

use agentkernel_model::{BoxPath, Isolation, Phase, PublishedPort, SandboxName, SandboxSpec};
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The version written by this build. A change of [`SandboxRecord`] that an older build would misread raises it, adds a
/// migration where records are parsed and a golden file of the version left behind in `testdata`.
pub const RECORD_VERSION: u32 = 1;

/// The process that keeps published ports open after the command that started the sandbox has ended. The three values
/// together name one process for ever: process ids are used again, start times and boot ids are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwarderProcess {
    /// Process id on the host.
    pub pid: u32,
    /// Field 22 of /proc/PID/stat (proc(5)): clock ticks after boot.
    pub start_time: u64,
    /// /proc/sys/kernel/random/boot_id of that boot.
    pub boot_id: String,
}

/// A file that the next start puts into the box; its content waits in the sandbox's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagedFile {
    /// Where it goes.
    pub dest: BoxPath,
    /// Its permissions.
    pub mode: u32,
}

/// One sandbox, durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxRecord {
    /// [`RECORD_VERSION`] of the build that wrote it.
    pub version: u32,
    /// 16 lower-case hex digits, random, never used again.
    pub id: String,
    /// The name; the folder's name too.
    pub name: SandboxName,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// How it was asked for. Holds secrets: the file is readable by its owner only.
    pub spec: SandboxSpec,
    /// Made by `run --name`: removed when its owner is gone.
    pub ephemeral: bool,
    /// What the last start got.
    pub isolation: Option<Isolation>,
    /// The configuration file it came from.
    pub config_file: Option<PathBuf>,
    /// Where its published ports really listen since the last start: port 0 is resolved.
    #[serde(default)]
    pub published: Vec<PublishedPort>,
    /// Who listens there.
    #[serde(default)]
    pub forwarder: Option<ForwarderProcess>,
    /// Files that the next start puts into the box; the content of the n-th is [`crate::LockedRecord::staged_path`].
    #[serde(default)]
    pub files: Vec<StagedFile>,
}

#[derive(Deserialize)]
pub(crate) struct VersionOnly {
    pub(crate) version: u32,
}

/// Reads a record that is expected to be `name`'s; `path` is for messages.
pub(crate) fn parse(bytes: &[u8], name: &SandboxName, path: &Path) -> Result<SandboxRecord, StoreError> {
    let damaged = |why: String| StoreError::Damaged { path: path.to_owned(), why };
    let VersionOnly { version } =
        serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if version > RECORD_VERSION {
        return Err(StoreError::NewerVersion {
            path: path.to_owned(),
            found: version,
            known: RECORD_VERSION,
        });
    }
    if version == 0 {
        return Err(damaged("format version 0 never existed".to_owned()));
    }
    let record: SandboxRecord = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if record.name != *name {
        return Err(damaged(format!("it is the record of {:?}", record.name.as_str())));
    }
    // The id becomes part of cgroup and interface names.
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if record.id.len() != 16 || !record.id.bytes().all(hex) {
        return Err(damaged(format!("its id {:?} is not 16 lower-case hex digits", record.id)));
    }
    Ok(record)
}

/// The bytes to write.
pub(crate) fn to_bytes(record: &SandboxRecord, path: &Path) -> Result<Vec<u8>, StoreError> {
    let mut bytes = serde_json::to_vec_pretty(record)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), why: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}
