//! The sections and keys of `agentkernel.toml`. The doc comments here are the text of the schema and of the reference
//! page, so they are written for users.

use std::collections::BTreeMap;
use std::path::PathBuf;

use agentkernel_model::{BackendName, BoxPath, Cpus, ImageRef, SandboxName, UserSpec};
use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{
    CwdMountValue, EnvValue, FileMode, MountValue, NoCompatibility, PassEnvValue, PortValue, ProfileValue,
    SizeValue,
};
use crate::{AgentName, Runtime};

/// The configuration of a sandbox. Every key is optional; an unknown key is an error.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "agentkernel.toml", deny_unknown_fields)]
pub(crate) struct FileValues {
    /// What the sandbox is.
    pub(crate) sandbox: SandboxSection,
    /// The AI agent that works in it.
    pub(crate) agent: AgentSection,
    /// Limits. A number given here always beats the profile's.
    pub(crate) resources: ResourcesSection,
    /// Reach of the network.
    pub(crate) network: NetworkSection,
    /// What the sandbox is allowed: a profile, and single grants that beat it.
    pub(crate) security: SecuritySection,
    /// Environment variables of every command, `NAME = "value"`.
    pub(crate) env: BTreeMap<String, EnvValue>,
    /// Files or folders of the host that are shown live in the sandbox.
    pub(crate) mounts: Vec<MountValue>,
    /// Files that are copied into the sandbox when it is made.
    pub(crate) files: Vec<FileSection>,
}

/// What the sandbox is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct SandboxSection {
    /// The sandbox's name where the command line gives none: 1 to 63 letters, digits, `-` and `_`.
    pub(crate) name: Option<SandboxName>,
    /// The backend; chosen automatically where it is not named.
    pub(crate) backend: Option<BackendName>,
    /// The language that chooses the image where a backend needs one; found from the command and the project files
    /// where it is not named.
    pub(crate) runtime: Option<Runtime>,
    /// The image: `host` for this machine's own system, or an OCI reference. Beats `runtime`.
    pub(crate) image: Option<ImageRef>,
    /// Another name of `image`.
    pub(crate) base_image: Option<ImageRef>,
    /// The older name: one of the runtimes, or an image.
    pub(crate) rootfs: Option<String>,
    /// Where commands start; an absolute path in the sandbox, by default `/workspace`.
    pub(crate) workdir: Option<BoxPath>,
    /// Who runs commands: `NAME`, `UID`, `NAME:GROUP` or `UID:GID`; by default root of the sandbox, who is nobody
    /// outside.
    pub(crate) user: Option<UserSpec>,
    /// Your own marks, `key = "value"`.
    pub(crate) labels: BTreeMap<String, String>,
    /// The same as the section `[env]`.
    pub(crate) env: BTreeMap<String, EnvValue>,
}

/// The AI agent that works in the sandbox.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct AgentSection {
    /// The agent that the sandbox is meant for.
    pub(crate) preferred: Option<AgentName>,
    /// Only `native` (or `default`), which changes nothing: the modes that limit domains are refused until a backend
    /// enforces them.
    pub(crate) compatibility_mode: Option<NoCompatibility>,
}

/// Limits. A number given here always beats the profile's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ResourcesSection {
    /// Processor cores, 0.01 to 1024.
    pub(crate) vcpus: Option<Cpus>,
    /// Another name of `vcpus`.
    pub(crate) cpus: Option<Cpus>,
    /// Memory of all processes together in MiB, or with a unit (`"2g"`).
    pub(crate) memory_mb: Option<SizeValue>,
    /// Another name of `memory_mb`.
    pub(crate) memory: Option<SizeValue>,
    /// What the sandbox may write into its own root filesystem, in MiB or with a unit.
    pub(crate) disk: Option<SizeValue>,
    /// Processes and threads together.
    pub(crate) pids: Option<std::num::NonZeroU32>,
    /// Open files of each process.
    pub(crate) open_files: Option<std::num::NonZeroU32>,
}

/// Reach of the network.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct NetworkSection {
    /// Whether the sandbox reaches other machines. The same as `security.network`.
    pub(crate) enabled: Option<bool>,
    /// Ports of the sandbox on the host: `8080`, `"8080:80"` (host:sandbox) or `"0.0.0.0:8080:80"`; TCP, on the
    /// host's loopback address unless another is named.
    pub(crate) ports: Vec<PortValue>,
}

/// What the sandbox is allowed: a profile, and single grants that beat it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct SecuritySection {
    /// The set of grants and limits to start from; `custom` is `moderate` under another name.
    pub(crate) profile: Option<ProfileValue>,
    /// Whether the sandbox reaches other machines. The host itself stays unreachable.
    pub(crate) network: Option<bool>,
    /// The current folder at `/workspace`: `true` to write, `"ro"` to read, `false` for neither.
    pub(crate) mount_cwd: Option<CwdMountValue>,
    /// Your home folder, read-only, at `/home/user`.
    pub(crate) mount_home: Option<bool>,
    /// Your environment variables: all but those of your session (`true`), or those that are listed and set.
    pub(crate) pass_env: Option<PassEnvValue>,
    /// A root filesystem that can't be written; `/tmp` still can.
    pub(crate) read_only: Option<bool>,
    /// Read-only tool folders below your home (rustup, pyenv, nvm, uv, ...), never with credentials.
    pub(crate) toolchains: Option<bool>,
    /// Run even where this machine can't enforce a limit.
    pub(crate) allow_unlimited: Option<bool>,
}

/// A file that is copied into the sandbox when it is made.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct FileSection {
    /// The file on the host; relative to the folder of this file, `~/` is the home.
    pub(crate) source: PathBuf,
    /// Where it goes: an absolute path in the sandbox.
    pub(crate) dest: BoxPath,
    /// Permission bits in octal.
    #[serde(default = "default_mode")]
    #[schemars(default = "default_mode_text")]
    pub(crate) mode: FileMode,
}

fn default_mode() -> FileMode {
    FileMode(0o644)
}

fn default_mode_text() -> String {
    "0644".to_owned()
}
