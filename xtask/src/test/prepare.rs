//! Installs what tests and benchmarks need and the machine lacks: Debian packages where this is root, cargo's tools from
//! their sources.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::workspace::Workspace;

/// A program and the Debian package that brings it.
pub(crate) struct Needed {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// What the tests use. Each test that needs one says so and is skipped without it.
pub(crate) const FOR_TESTS: &[Needed] = &[
    Needed { program: "nft", package: "nftables" },
    Needed { program: "ip", package: "iproute2" },
    Needed { program: "pasta", package: "passt" },
    Needed { program: "newuidmap", package: "uidmap" },
    Needed { program: "python3", package: "python3" },
    Needed { program: "cc", package: "gcc" },
    Needed { program: "strace", package: "strace" },
    Needed { program: "mkfs.ext4", package: "e2fsprogs" },
    Needed { program: "fsck.erofs", package: "erofs-utils" },
    Needed { program: "setpriv", package: "util-linux" },
];

/// What the benchmark measures against.
pub(crate) const FOR_BENCHMARKS: &[Needed] = &[
    Needed { program: "bwrap", package: "bubblewrap" },
    Needed { program: "dockerd", package: "docker.io" },
    Needed { program: "docker", package: "docker.io" },
    Needed { program: "busybox", package: "busybox-static" },
    Needed { program: "nft", package: "nftables" },
    Needed { program: "ip", package: "iproute2" },
];

/// Installs the packages of those programs that are missing. Says what it can't do; the tests that need it are then
/// skipped by themselves.
pub(crate) fn install_packages(needed: &[Needed]) -> Result<()> {
    let missing: Vec<&Needed> =
        needed.iter().filter(|needed| command::find(needed.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|needed| needed.package).collect();
    let install = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !command::is_root() || command::find("apt-get").is_none() {
        println!("prepare: missing: {}; as root: {install}", packages.join(", "));
        return Ok(());
    }
    println!("prepare: {install}");
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "Dpkg::Use-Pty=0"]).args(arguments);
        command::succeeds(&mut apt)
    };
    let arguments: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect();
    if !(apt(&["update"])? && apt(&arguments)?) {
        println!("prepare: apt-get failed; what needs these packages will be skipped");
    }
    Ok(())
}

/// A tool of cargo's that is installed from its source.
pub(crate) struct CargoTool {
    name: &'static str,
    binary: PathBuf,
}

impl CargoTool {
    /// Finds `name`, or builds it into a folder of its own under the user's cache, once for all checkouts. `None`, and
    /// a line that says so, where that fails.
    pub(crate) fn ensure(workspace: &Workspace, name: &'static str) -> Result<Option<Self>> {
        let folder = cache_folder()?;
        let cached = folder.join("bin").join(name);
        let found = command::find(name).or_else(|| cached.is_file().then(|| cached.clone()));
        if let Some(binary) = found {
            return Ok(Some(Self { name, binary }));
        }
        println!("prepare: cargo install --locked {name} (once, into {})", folder.display());
        let mut install = workspace.cargo(&["install", "--locked", "--quiet", name, "--root"]);
        // Its build is no part of ours: neither in our target folder nor with our flags.
        install.current_dir("/").arg(&folder).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
        Ok(command::succeeds(&mut install)?.then_some(Self { name, binary: cached }))
    }

    /// The tool as cargo itself would call it.
    pub(crate) fn command(&self, workspace: &Workspace) -> Command {
        let mut command = workspace.command(&self.binary.to_string_lossy());
        command.arg(self.name.strip_prefix("cargo-").unwrap_or(self.name));
        command
    }

    /// Where it is.
    pub(crate) fn binary(&self) -> &PathBuf {
        &self.binary
    }
}

/// The tasks' own folder in the user's cache.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Ok(cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?.join("agentkernel-xtask"))
}
