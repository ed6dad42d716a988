//! The flags that say what a sandbox is: those of `run` and `create`.

use std::ffi::OsString;
use std::path::PathBuf;

use agentkernel_config::{BuildFlag, CwdMount, EnvFlag, EnvFlagError, Overrides};
use agentkernel_model::{
    BackendName, BoxPath, Cpus, ImageRef, Mib, Mount, NetworkAccess, OpenFiles, PassEnv, Pids, Profile,
    PublishedPort, PullPolicy, UserSpec,
};

use super::parse_label;
use crate::output::CliError;

/// Everything a sandbox is made of. What isn't given comes from the environment, `agentkernel.toml` and the profile.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct SandboxFlags {
    /// Root filesystem: `host` (this machine's own system folders, read-only) or an OCI image, by name, name@digest or
    /// the beginning of its id [default: chosen by the command and the project]
    #[arg(long, value_name = "IMAGE", conflicts_with = "build", help_heading = "Sandbox")]
    image: Option<ImageRef>,
    /// When the image is fetched: missing (the default: a second use touches no network), always or never
    #[arg(long, value_name = "POLICY", help_heading = "Sandbox")]
    pull: Option<PullPolicy>,
    /// Build a Dockerfile with Docker or Podman and use the result: the one named, else that of `[build]` or the folder
    #[arg(
        long, value_name = "DOCKERFILE", num_args = 0..=1, require_equals = true, default_missing_value = "",
        help_heading = "Sandbox"
    )]
    build: Option<OsString>,
    /// Do every step of the build again
    #[arg(long, help_heading = "Sandbox")]
    no_cache: bool,
    /// Security profile: permissive, moderate (the default) or restrictive
    #[arg(short, long, value_name = "PROFILE", help_heading = "Sandbox")]
    profile: Option<Profile>,
    /// Backend that makes the sandbox; without it the first that is ready (`agentkernel setup --check` shows which)
    #[arg(short = 'B', long, value_name = "BACKEND", help_heading = "Sandbox")]
    backend: Option<BackendName>,
    /// Configuration file [default: agentkernel.toml of the current folder, where there is one]
    #[arg(short, long, value_name = "FILE", help_heading = "Sandbox")]
    pub(crate) config: Option<PathBuf>,
    /// Mark of your own; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label, help_heading = "Sandbox")]
    labels: Vec<(String, String)>,

    /// Memory: 512m, 2g (a bare number is MiB)
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits")]
    memory: Option<Mib>,
    /// Processors: 0.5, 2
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    cpus: Option<Cpus>,
    /// Processes and threads, at least 3: each command has one beside it, and the sandbox one of its own
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    pids: Option<Pids>,
    /// Size of what is written to the root filesystem: 512m, 2g (a bare number is MiB)
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    disk: Option<Mib>,
    /// Open files of one process, at least 32
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    open_files: Option<OpenFiles>,
    /// Go on without limits that this machine can't enforce, instead of refusing
    #[arg(long, help_heading = "Limits")]
    allow_unlimited: bool,

    /// Outbound network, whatever the profile says
    #[arg(long, overrides_with = "no_network", help_heading = "Grants")]
    network: bool,
    /// No network but loopback, whatever the profile says
    #[arg(long, overrides_with = "network", help_heading = "Grants")]
    no_network: bool,
    /// Show the current folder at /workspace: rw (the default of the bare flag) or ro
    #[arg(
        long, value_name = "ro|rw", num_args = 0..=1, require_equals = true, default_missing_value = "rw",
        overrides_with = "no_mount_cwd", help_heading = "Grants"
    )]
    mount_cwd: Option<CwdMount>,
    /// Don't show the current folder
    #[arg(long, overrides_with = "mount_cwd", help_heading = "Grants")]
    no_mount_cwd: bool,
    /// Show your home folder at /home/user, read-only
    #[arg(long, overrides_with = "no_mount_home", help_heading = "Grants")]
    mount_home: bool,
    /// Don't show your home folder
    #[arg(long, overrides_with = "mount_home", help_heading = "Grants")]
    no_mount_home: bool,
    /// Pass your environment variables: all, or only those named
    #[arg(
        long, value_name = "NAME,...", num_args = 0..=1, require_equals = true, default_missing_value = "",
        overrides_with = "no_pass_env", help_heading = "Grants"
    )]
    pass_env: Option<String>,
    /// Pass none of your environment variables
    #[arg(long, overrides_with = "pass_env", help_heading = "Grants")]
    no_pass_env: bool,
    /// Make the root filesystem read-only; /tmp, /dev/shm and read-write mounts stay writable
    #[arg(long, overrides_with = "no_read_only", help_heading = "Grants")]
    read_only: bool,
    /// Make the root filesystem writable
    #[arg(long, overrides_with = "read_only", help_heading = "Grants")]
    no_read_only: bool,
    /// Show the tool folders of your home (rustup, pyenv, nvm, uv, ...) read-only; never credentials
    #[arg(long, help_heading = "Grants")]
    toolchains: bool,
    /// Show a file or folder of the host inside; may be repeated
    #[arg(short, long = "volume", value_name = "HOST:BOX[:ro]", help_heading = "Grants")]
    volumes: Vec<Mount>,
    /// Publish a TCP port on the host (on 127.0.0.1 unless an address is given); may be repeated
    #[arg(short = 'P', long = "publish", value_name = "[[ADDRESS:]HOST:]BOX", help_heading = "Grants")]
    ports: Vec<PublishedPort>,

    /// Environment variable; NAME alone takes your value, which keeps it out of argument lists; may be repeated
    #[arg(short, long = "env", value_name = "NAME[=VALUE]", help_heading = "Command")]
    env: Vec<OsString>,
    /// Folder in the sandbox where commands start [default: /workspace where something is mounted there, else the image's]
    #[arg(short, long, value_name = "PATH", help_heading = "Command")]
    workdir: Option<BoxPath>,
    /// User in the sandbox: NAME, UID, NAME:GROUP or UID:GID [default: the image's, else root]
    #[arg(short, long, value_name = "USER", help_heading = "Command")]
    user: Option<UserSpec>,
}

impl SandboxFlags {
    /// As settings that beat all others.
    pub(crate) fn overrides(&self) -> Result<Overrides, CliError> {
        Ok(Overrides {
            backend: self.backend.clone(),
            image: self.image.clone(),
            pull: self.pull,
            build: self.build.clone().map(build_flag),
            no_cache: self.no_cache,
            profile: self.profile,
            network: one_of(self.network, self.no_network)
                .map(|on| if on { NetworkAccess::On } else { NetworkAccess::None }),
            mount_cwd: if self.no_mount_cwd { Some(CwdMount::Off) } else { self.mount_cwd },
            mount_home: one_of(self.mount_home, self.no_mount_home),
            pass_env: self.pass_env(),
            read_only: one_of(self.read_only, self.no_read_only),
            toolchains: self.toolchains.then_some(true),
            allow_unlimited: self.allow_unlimited.then_some(true),
            memory: self.memory,
            cpus: self.cpus,
            pids: self.pids.map(Pids::get),
            disk: self.disk,
            open_files: self.open_files.map(OpenFiles::get),
            env: parse_env(&self.env)?,
            mounts: self.volumes.clone(),
            ports: self.ports.clone(),
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            labels: self.labels.iter().cloned().collect(),
            ..Overrides::default()
        })
    }

    fn pass_env(&self) -> Option<PassEnv> {
        if self.no_pass_env {
            return Some(PassEnv::None);
        }
        let names = self.pass_env.as_deref()?;
        if names.is_empty() {
            return Some(PassEnv::All);
        }
        Some(PassEnv::Names(names.split(',').map(str::to_owned).collect()))
    }
}

fn build_flag(dockerfile: OsString) -> BuildFlag {
    if dockerfile.is_empty() { BuildFlag::Found } else { BuildFlag::Dockerfile(dockerfile.into()) }
}

fn one_of(yes: bool, no: bool) -> Option<bool> {
    if yes == no { None } else { Some(yes) }
}

/// `-e` is parsed here and not by clap, whose messages would show the value.
pub(super) fn parse_env(flags: &[OsString]) -> Result<Vec<EnvFlag>, CliError> {
    flags
        .iter()
        .map(|flag| EnvFlag::parse(flag))
        .collect::<Result<_, EnvFlagError>>()
        .map_err(|error| CliError::usage(format!("-e: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: SandboxFlags,
    }

    fn parse(arguments: &[&str]) -> Overrides {
        Line::try_parse_from([&["x"], arguments].concat()).unwrap().flags.overrides().unwrap()
    }

    #[test]
    fn nothing_given_overrides_nothing() {
        let none = parse(&[]);
        assert_eq!((none.network, none.mount_cwd, none.mount_home, none.read_only), (None, None, None, None));
        assert_eq!((none.pass_env, none.toolchains, none.memory), (None, None, None));
    }

    #[test]
    fn each_grant_can_be_given_and_taken() {
        assert_eq!(parse(&["--no-network"]).network, Some(NetworkAccess::None));
        assert_eq!(parse(&["--no-network", "--network"]).network, Some(NetworkAccess::On));
        assert_eq!(parse(&["--mount-cwd"]).mount_cwd, Some(CwdMount::ReadWrite));
        assert_eq!(parse(&["--mount-cwd=ro"]).mount_cwd, Some(CwdMount::ReadOnly));
        assert_eq!(parse(&["--no-mount-cwd"]).mount_cwd, Some(CwdMount::Off));
        assert_eq!(parse(&["--pass-env"]).pass_env, Some(PassEnv::All));
        assert_eq!(parse(&["--pass-env=A,B"]).pass_env, Some(PassEnv::Names(vec!["A".into(), "B".into()])));
        assert_eq!(parse(&["--no-pass-env"]).pass_env, Some(PassEnv::None));
        assert_eq!(parse(&["--no-read-only"]).read_only, Some(false));
        assert_eq!(parse(&["--build"]).build, Some(BuildFlag::Found));
        assert_eq!(parse(&["--build=D.dev"]).build, Some(BuildFlag::Dockerfile("D.dev".into())));
        assert_eq!(parse(&["--pull", "never"]).pull, Some(PullPolicy::Never));
    }

    #[test]
    fn a_wrong_variable_is_refused_without_showing_it() {
        let line = Line::try_parse_from(["x", "-e", "=hunter2"]).unwrap();
        let error = line.flags.overrides().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
