//! The sections and keys of `agentkernel.toml`. The doc comments here are the text of the schema and of the reference
//! page, so they are written for users.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::PathBuf;

use agentkernel_model::{
    BackendName, BoxPath, Cpus, ImageRef, OpenFiles, Pids, PullPolicy, SandboxName, UserSpec,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::pool_section::PoolSection;
use super::server_sections::{ApiSection, AuditSection};
use super::values::{
    CwdMountValue, EnvValue, FileMode, MountValue, NoCompatibility, PassEnvValue, PortValue, ProfileValue,
    SizeValue,
};
use crate::{AgentName, Runtime, Vmm};

/// The configuration of a sandbox. Every key is optional; an unknown key is an error.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "agentkernel.toml", deny_unknown_fields)]
pub(crate) struct FileValues {
    /// What the sandbox is.
    pub(crate) sandbox: SandboxSection,
    /// A Dockerfile that Docker or Podman builds; the sandbox starts from the result. Instead of `sandbox.image`.
    pub(crate) build: Option<BuildSection>,
    /// The AI agent that works in it.
    pub(crate) agent: AgentSection,
    /// Limits. A number given here always beats the profile's.
    pub(crate) resources: ResourcesSection,
    /// Reach of the network.
    pub(crate) network: NetworkSection,
    /// What the sandbox is allowed: a profile, and single grants that beat it.
    pub(crate) security: SecuritySection,
    /// Where images come from and how many are kept.
    pub(crate) images: ImagesSection,
    /// The Docker engine.
    pub(crate) docker: EngineSection,
    /// The Podman engine.
    pub(crate) podman: EngineSection,
    /// MicroVMs: each sandbox has a kernel of its own.
    pub(crate) firecracker: FirecrackerSection,
    /// Snapshots of running sandboxes.
    pub(crate) snapshots: SnapshotsSection,
    /// The HTTP server: `agentkernel serve` and the daemon.
    pub(crate) api: ApiSection,
    /// The audit log of the HTTP server.
    pub(crate) audit: AuditSection,
    /// Sandboxes that the server and the daemon start before they are asked for.
    pub(crate) pool: PoolSection,
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
    /// The language whose image is used; found from the command and the project files where it is not named.
    pub(crate) runtime: Option<Runtime>,
    /// The image: `host` for this machine's own system, or an OCI reference. Beats `runtime`.
    pub(crate) image: Option<ImageRef>,
    /// Another name of `image`.
    pub(crate) base_image: Option<ImageRef>,
    /// The older name: one of the runtimes, or an image.
    pub(crate) rootfs: Option<String>,
    /// Where commands start; an absolute path in the sandbox. By default `/workspace` where something is mounted there,
    /// else what the image says, else `/workspace`.
    pub(crate) workdir: Option<BoxPath>,
    /// Who runs commands: `NAME`, `UID`, `NAME:GROUP` or `UID:GID`; by default whom the image says, else root of the
    /// sandbox, who is nobody outside.
    pub(crate) user: Option<UserSpec>,
    /// Your own marks, `key = "value"`.
    pub(crate) labels: BTreeMap<String, String>,
    /// The same as the section `[env]`.
    pub(crate) env: BTreeMap<String, EnvValue>,
}

/// A Dockerfile that Docker or Podman builds; the sandbox starts from the result. Instead of `sandbox.image`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct BuildSection {
    /// The Dockerfile, by default the first of `Dockerfile`, `dockerfile`, `Dockerfile.dev`, `Dockerfile.development`,
    /// `Dockerfile.prod` and `Dockerfile.production` that the context has.
    pub(crate) dockerfile: Option<PathBuf>,
    /// The folder that is sent to the engine and holds the Dockerfile; by default the Dockerfile's.
    pub(crate) context: Option<PathBuf>,
    /// The stage to build; by default the last.
    pub(crate) target: Option<String>,
    /// Values of `ARG`, `NAME = "value"`. They can be read from the image: no place for secrets.
    pub(crate) args: BTreeMap<String, String>,
    /// Whether every step is done again.
    pub(crate) no_cache: bool,
}

/// Where images come from and how many are kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ImagesSection {
    /// When an image is fetched: `missing` (the default), `always` or `never`.
    pub(crate) pull: Option<PullPolicy>,
    /// Mirrors by registry, asked before it in their order: `"docker.io" = ["mirror.example:5000"]`.
    pub(crate) mirrors: BTreeMap<String, Vec<String>>,
    /// Registries that are spoken to without TLS: `["localhost:5000"]`.
    pub(crate) insecure: BTreeSet<String>,
    /// Files of further certificate authorities of registries, in PEM form.
    pub(crate) ca: Vec<PathBuf>,
    /// The most that the image store may hold, in MiB or with a unit; by default as much as the disk has.
    pub(crate) max_size: Option<SizeValue>,
}

/// A container engine.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct EngineSection {
    /// Its address: `unix:///run/user/1000/docker.sock`, `tcp://host:2376`. By default what the engine's own client
    /// would use.
    pub(crate) host: Option<String>,
    /// The OCI runtime that it starts containers with, such as `runsc` (gVisor); it must know one by that name.
    pub(crate) runtime: Option<String>,
}

/// MicroVMs: each sandbox has a kernel of its own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct FirecrackerSection {
    /// Who makes the machines: `firecracker` (the default), which needs KVM, or `qemu`, which emulates the processor where
    /// there is none, and is then slow.
    pub(crate) vmm: Option<Vmm>,
    /// The guest's kernel, an uncompressed `vmlinux`; by default the one that `agentkernel setup firecracker` installed.
    pub(crate) kernel: Option<PathBuf>,
    /// Firecracker's program; by default the one that setup installed, else that of `PATH`.
    pub(crate) firecracker: Option<PathBuf>,
    /// Firecracker's jailer, which is used as root; looked for like `firecracker`.
    pub(crate) jailer: Option<PathBuf>,
    /// QEMU's program for this processor; looked for like `firecracker`.
    pub(crate) qemu: Option<PathBuf>,
    /// The vsock daemon that QEMU's machines need; looked for like `firecracker`.
    pub(crate) vhost_device_vsock: Option<PathBuf>,
    /// Use Firecracker even on a KVM that only emulates guest kernels, which takes a kernel made for that. Such a backend
    /// is used only where it is named.
    pub(crate) allow_emulated_kvm: Option<bool>,
    /// The most that saved starts may hold on disk, in MiB or with a unit; 4 GiB by default.
    pub(crate) max_template_size: Option<SizeValue>,
    /// The most that a machine may read and write in a second, of each of its disks, in MiB or with a unit (`"200m"`); by
    /// default as much as it can. A sandbox keeps the limits that it was made with.
    pub(crate) disk_bandwidth: Option<SizeValue>,
    /// The most reads and writes of a machine in a second, of each of its disks; by default as many as it can.
    pub(crate) disk_iops: Option<NonZero<u32>>,
    /// The most that a machine may receive in a second, and that it may send, in MiB or with a unit; by default as much as
    /// it can. QEMU can't hold a machine to it: sandboxes with a network are then refused.
    pub(crate) network_bandwidth: Option<SizeValue>,
}

/// Snapshots of running sandboxes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct SnapshotsSection {
    /// The most that all snapshots together may take on disk, in MiB or with a unit; by default as much as the disk has.
    pub(crate) max_size: Option<SizeValue>,
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
    /// Processes and threads together, at least 3: each command has one beside it, and the sandbox one of its own.
    pub(crate) pids: Option<Pids>,
    /// Open files of each process, at least 32.
    pub(crate) open_files: Option<OpenFiles>,
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
