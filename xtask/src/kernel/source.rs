//! The kernel's source: Debian's package of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::package::{Package, remove};
use crate::command;
use crate::test::cache_folder;

/// The long-term series that images/kernel is written for. Debian 12 (security) and 13 have it.
const PACKAGE: &str = "linux-source-6.12";

/// The package that was fetched before.
pub(super) fn cached() -> Result<Option<Package>> {
    Ok(Package::cached(&folder()?, |name| name == PACKAGE))
}

/// That, or else the one that the machine's package sources offer now.
pub(super) fn ensure() -> Result<Package> {
    cached()?.map_or_else(|| Package::fetch(&folder()?, PACKAGE), Ok)
}

/// Unpacks it to `scratch`; returns the tree's folder.
pub(super) fn unpack(source: &Package, scratch: &Path) -> Result<PathBuf> {
    eprintln!("kernel: unpacking the source of {}", source.version);
    let package = scratch.join("package");
    source.unpack(&package)?;
    let archive = package.join("usr/src").join(format!("{PACKAGE}.tar.xz"));
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--directory").arg(scratch).arg("--file").arg(&archive);
    command::output(&mut tar)?;
    remove(&package)?;
    let tree = scratch.join(PACKAGE);
    if !tree.join("Kconfig").is_file() {
        bail!("{PACKAGE} {} holds no kernel source at {PACKAGE}/", source.version);
    }
    Ok(tree)
}

/// Forgets what was fetched, so that the next build takes what the package sources offer now.
pub(super) fn update() -> Result<()> {
    remove(&folder()?)
}

fn folder() -> Result<PathBuf> {
    Ok(cache_folder()?.join("kernel").join("source"))
}
