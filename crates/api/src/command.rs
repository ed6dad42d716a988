//! What to run, and in what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Encoding, InitialFile, MountRequest};

/// Environment variables: an object, or a list of `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Environment {
    /// `{"NAME": "VALUE"}`.
    Map(BTreeMap<String, String>),
    /// `["NAME=VALUE"]`; of equal names the last counts.
    List(Vec<String>),
}

impl Default for Environment {
    fn default() -> Self {
        Self::Map(BTreeMap::new())
    }
}

/// A command for a sandbox that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// The program and its arguments. Passed on as they are: no shell reads them.
    #[schema(min_items = 1, example = json!(["python3", "-c", "print(6*7)"]))]
    pub command: Vec<String>,
    /// Variables on top of the sandbox's.
    #[serde(default)]
    pub env: Environment,
    /// The working directory; absolute.
    #[serde(default, alias = "cwd", skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Who runs it: `NAME`, `UID`, `NAME:GROUP` or `UID:GID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its standard input; nothing by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// How `stdin` is written.
    #[serde(default)]
    pub stdin_encoding: Encoding,
    /// Kill it after this many milliseconds. The server's own limit by default; none for detached commands and terminals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub timeout_ms: Option<u64>,
    /// How the answer writes stdout and stderr.
    #[serde(default)]
    pub encoding: Encoding,
    /// The most of stdout and of stderr that is kept, in bytes; the rest is read and dropped, and the answer says so. The
    /// server's own limit by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_bytes: Option<u64>,
    /// Of a detached command: how much of its output is kept, in bytes; the oldest is dropped. 16 MiB by default. Refused
    /// for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
}

/// A command in a sandbox of its own, which is removed when it has ended. The fields of [`ExecRequest`], and what the
/// sandbox is made of: what is left out comes from the profile and the server's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// See [`ExecRequest::command`]. May be empty where the image has a command of its own.
    #[serde(default)]
    #[schema(example = json!(["python3", "-c", "print(6*7)"]))]
    pub command: Vec<String>,
    /// See [`ExecRequest::env`].
    #[serde(default)]
    pub env: Environment,
    /// See [`ExecRequest::workdir`].
    #[serde(default, alias = "cwd", skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// See [`ExecRequest::user`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// See [`ExecRequest::stdin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// See [`ExecRequest::stdin_encoding`].
    #[serde(default)]
    pub stdin_encoding: Encoding,
    /// See [`ExecRequest::timeout_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub timeout_ms: Option<u64>,
    /// See [`ExecRequest::encoding`].
    #[serde(default)]
    pub encoding: Encoding,
    /// See [`ExecRequest::max_output_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_bytes: Option<u64>,
    /// `false` never takes a sandbox that was started earlier. Whether one was taken changes nothing but the time.
    #[serde(default = "yes")]
    pub fast: bool,
    /// The backend; chosen as by the command line where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The image; chosen as by the command line where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Instead of the image's entrypoint; an empty list is none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// `permissive` (needs scope admin), `moderate` or `restrictive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Whether there is a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// Whether the root file system can't be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Processors; may be a fraction.
    #[serde(default, alias = "cpus", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub vcpus: Option<serde_json::Number>,
    /// Memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// What may be written, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u32>,
    /// Open files of each process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Lets go of limits that this machine can't enforce (needs scope admin); the answer names them.
    #[serde(default)]
    pub allow_unlimited: bool,
    /// Folders of the host (needs scope admin).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountRequest>,
    /// Files that are there before the command starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InitialFile>,
}

pub(crate) fn yes() -> bool {
    true
}
