//! `debian`: a whole small distribution with Python, about 150 MB, by mmdebstrap from the machine's own sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::image::{Image, MADE_AT_SECONDS};
use super::layered;
use crate::command;

/// Where the machine may say which mirror of Debian it uses.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];

pub(super) fn image(folder: &Path, program: &Path) -> Result<Image> {
    let tar = folder.join("debian.tar");
    let release = std::fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let mut bootstrap = Command::new("mmdebstrap");
    // The same bytes for the same packages.
    bootstrap.env("SOURCE_DATE_EPOCH", MADE_AT_SECONDS).env("TMPDIR", folder);
    // No device nodes: engines bring their own /dev.
    bootstrap.args(["--quiet", "--mode=root", "--format=tar", "--skip=output/dev", "--skip=check/qemu"]);
    bootstrap.args(["--variant=minbase", "--include=python3-minimal"]);
    bootstrap.arg(codename.unwrap_or("stable")).arg(&tar);
    bootstrap.args(SOURCES.iter().map(PathBuf::from).filter(|file| file.is_file()).take(1));
    command::output(&mut bootstrap)?;
    let mut layers = vec![tar];
    layers.extend(layered::layers(folder, program)?);
    let config = json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": ["bash"],
    });
    Ok(Image { name: "debian", layers, config })
}
