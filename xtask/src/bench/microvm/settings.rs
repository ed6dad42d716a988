//! What the user asked `cargo xtask bench microvm` for.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::microvm_bed;
use crate::workspace::Workspace;

/// How machines are made, and how much is measured.
pub(super) struct Settings {
    pub(super) vmm: String,
    /// Named in the table.
    pub(super) bed: String,
    /// Of the program under test.
    pub(super) configuration: String,
    /// The image that machines run.
    pub(super) archive: PathBuf,
    pub(super) program: Option<PathBuf>,
    pub(super) rounds: usize,
    /// How many machines do nothing at once.
    pub(super) idle: usize,
    /// Print the result instead of writing it.
    pub(super) print: bool,
}

impl Settings {
    pub(super) fn parse(workspace: &Workspace, flags: &[&str]) -> Result<Self> {
        let mut settings = Self {
            vmm: "firecracker".to_owned(),
            bed: "this machine".to_owned(),
            configuration: String::new(),
            archive: PathBuf::new(),
            program: None,
            rounds: 20,
            idle: 20,
            print: false,
        };
        let mut further = Vec::new();
        let mut flags = flags.iter();
        while let Some(&flag) = flags.next() {
            if flag == "--print" {
                settings.print = true;
                continue;
            }
            let value = *flags.next().with_context(|| format!("{flag} needs a value"))?;
            let number = || value.parse().with_context(|| format!("{flag} {value:?} is no number"));
            match flag {
                "--vmm" => settings.vmm = value.to_owned(),
                "--bed" => settings.bed = value.to_owned(),
                "--archive" => settings.archive = PathBuf::from(value),
                "--program" => settings.program = Some(PathBuf::from(value)),
                "--rounds" => settings.rounds = number()?,
                "--idle" => settings.idle = number()?,
                "--set" => further.push(value.to_owned()),
                _ => bail!(
                    "unknown flag {flag}: there are --vmm, --bed, --archive, --program, --rounds, --idle, --set, --print"
                ),
            }
        }
        if settings.rounds < 2 {
            bail!("--rounds must be at least 2, or there is no median");
        }
        if settings.archive.as_os_str().is_empty() {
            let bed = std::env::var_os("AGENTKERNEL_TEST_BED")
                .context("name a busybox image with --archive FILE")?;
            settings.archive = PathBuf::from(bed).join("images/busybox.docker.tar");
        }
        settings.configuration = configuration(workspace, &settings.vmm, &further)?;
        Ok(settings)
    }
}

/// Where the parts of machines are, and what `--set KEY=VALUE` says besides; the latter wins.
fn configuration(workspace: &Workspace, vmm: &str, further: &[String]) -> Result<String> {
    let mut text = format!("[firecracker]\nvmm = {vmm:?}\n");
    let set =
        |key: &str| further.iter().any(|line| line.split('=').next().is_some_and(|name| name.trim() == key));
    for (key, path) in microvm_bed::settings(workspace)? {
        if !set(&key) {
            text.push_str(&format!("{key} = {path:?}\n"));
        }
    }
    for line in further {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}
