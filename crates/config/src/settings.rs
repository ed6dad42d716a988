//! The result: everything decided, nothing left to look up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use agentkernel_model::{
    BackendName, BoxPath, EnvVar, Grants, ImageRef, Mib, Mount, Profile, PublishedPort, Resources,
    SandboxName, UserSpec,
};

use crate::{ApiSettings, BuildSettings, Effective, Outside, Runtime};

/// A file that is copied into a sandbox when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The regular file on the host; absolute, and there when the settings were made.
    pub source: PathBuf,
    /// Where it goes.
    pub dest: BoxPath,
    /// Its permission bits, at most 0o777.
    pub mode: u32,
}

/// The settings of one command, merged and checked: flags over variables over the file over profile and defaults.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where sandboxes are kept; absolute.
    pub state_dir: PathBuf,
    /// The backend, where one is named.
    pub backend: Option<BackendName>,
    /// The name that a sandbox gets where the command gives none.
    pub name: Option<SandboxName>,
    /// The image, where one is named. Beats `runtime`.
    pub image: Option<ImageRef>,
    /// The run-time, where one is named.
    pub runtime: Option<Runtime>,
    /// The Dockerfile to build, where one is to be built; then no image is named.
    pub build: Option<BuildSettings>,
    /// Engines, registries and the way there.
    pub outside: Outside,
    /// The agent's name, one of [`crate::AgentName`].
    pub agent: Option<String>,
    /// The profile that `grants` and `resources` start from; also decides capabilities and the seccomp filter.
    pub profile: Profile,
    /// The profile's grants with all single toggles applied. `pass_env` is already carried out in `env`.
    pub grants: Grants,
    /// The profile's limits, each replaced by the user's number where there is one.
    pub resources: Resources,
    /// Whether limits that can't be enforced are let go.
    pub allow_unlimited: bool,
    /// The whole environment that the user wants in the sandbox: passed variables, `[env]`, `-e`, the later winning.
    pub env: Vec<EnvVar>,
    /// The user's mounts, sources absolute and existing; without those of the grants and tool chains.
    pub mounts: Vec<Mount>,
    /// Ports on the host.
    pub ports: Vec<PublishedPort>,
    /// Files to copy in.
    pub files: Vec<FileEntry>,
    /// Where commands start.
    pub workdir: Option<BoxPath>,
    /// Who runs commands.
    pub user: Option<UserSpec>,
    /// The user's own marks.
    pub labels: BTreeMap<String, String>,
    /// The HTTP server.
    pub api: ApiSettings,
    /// Sandboxes that a server starts before they are asked for.
    pub pool: crate::PoolChoice,
    /// The most that all snapshots together may take on disk.
    pub max_snapshots_size: Option<Mib>,
    /// Whether tool folders below the home are shown.
    pub toolchains: bool,
    /// The file that was read; absolute.
    pub config_file: Option<PathBuf>,
    pub(crate) effective: Vec<Effective>,
}

impl Settings {
    /// Every effective value with its origin, in the order of the reference page. Of environment variables it holds
    /// only the names.
    pub fn explain(&self) -> Vec<Effective> {
        self.effective.clone()
    }
}
