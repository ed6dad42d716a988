//! Programs that the bed gets from elsewhere than the machine's packages.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::test::cache_folder;
use crate::workspace::Workspace;

/// The vsock of a QEMU machine, with the same sockets and words on the host as Firecracker's.
const VHOST_VSOCK: &str = "vhost-device-vsock";
const VHOST_VSOCK_VERSION: &str = "0.3.0";

/// The tools' folder in the tasks' cache: apart from cargo's, whose versions are others.
fn folder() -> Result<PathBuf> {
    Ok(cache_folder()?.join("tools"))
}

/// Where the vsock daemon is, if it was built.
pub(super) fn vhost_vsock() -> Result<Option<PathBuf>> {
    let file = folder()?.join("bin").join(VHOST_VSOCK);
    Ok(file.is_file().then_some(file))
}

/// The same, built now where it is missing: some two minutes, once.
pub(super) fn ensure_vhost_vsock(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(file) = vhost_vsock()? {
        return Ok(file);
    }
    let folder = folder()?;
    eprintln!(
        "microvm-bed: cargo install {VHOST_VSOCK} {VHOST_VSOCK_VERSION} (once, into {})",
        folder.display()
    );
    let mut install = workspace.cargo(&["install", "--locked", "--quiet", VHOST_VSOCK]);
    install.args(["--version", VHOST_VSOCK_VERSION, "--root"]).arg(&folder);
    // Its build is no part of ours: neither in our target folder nor with our flags.
    install.current_dir("/").env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").stdout(std::io::stderr());
    if !command::succeeds(&mut install)? {
        bail!("{} failed", command::shown(&install));
    }
    vhost_vsock()?.with_context(|| format!("cargo installed no {VHOST_VSOCK} into {}", folder.display()))
}

/// A program that only people can bring: named by `variable`, on the PATH, or put into the tools' folder by hand.
pub(super) fn brought(variable: &str, program: &str) -> Result<Option<PathBuf>> {
    if let Some(named) = std::env::var_os(variable).map(PathBuf::from) {
        if !named.is_file() {
            bail!("{variable} names {}, which is no file", named.display());
        }
        return Ok(Some(named));
    }
    let by_hand = folder()?.join("bin").join(program);
    Ok(command::find(program).or_else(|| by_hand.is_file().then_some(by_hand)))
}

/// Compiles a C program without libraries to be found at run time.
pub(super) fn compile_static(source: &str, folder: &std::path::Path, name: &str) -> Result<PathBuf> {
    let (from, to) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&from, source).with_context(|| format!("write {}", from.display()))?;
    let mut compiler = Command::new("gcc");
    compiler.args(["-static", "-Os", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&to).arg(&from);
    command::output(&mut compiler)?;
    Ok(to)
}
