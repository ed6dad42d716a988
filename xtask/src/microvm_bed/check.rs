//! The bed tried out: the kernel boots, says what it can do, and powers off.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::initramfs::Initramfs;
use super::machine::Machine;
use super::parts::Parts;
use super::tool;

const PROBE: &str = include_str!("probe.c");
/// The port that the probe answers on.
const GATE: u32 = 1024;
/// How its last line begins.
const UPTIME: &str = "uptime ";
/// What it looks for on its disk, filled up to whole blocks.
const DISK: &[u8] = b"agentkernel";
const DISK_BYTES: usize = 64 * 1024;

/// Boots a machine and prints what it lacks; whether it lacks nothing.
pub(super) fn run(parts: &Parts) -> Result<bool> {
    let scratch = Scratch::make()?;
    let program = tool::compile_static(PROBE, &scratch.0, "probe")?;
    let mut initramfs = Initramfs::new();
    initramfs.file("init", 0o755, &std::fs::read(&program).context("read the probe")?);
    let initramfs = initramfs.finish();
    let mut disk = DISK.to_vec();
    disk.resize(DISK_BYTES, 0);
    let mut machine = Machine::start(parts, &scratch.0, &initramfs, &disk)?;
    let (knock, ready) = machine.wait_ready()?;
    let report = machine.read_from(GATE, UPTIME)?;
    machine.wait_end()?;
    let missing: Vec<&str> = report.lines().filter(|line| line.starts_with("missing ")).collect();
    for line in &missing {
        println!("microvm-bed: {line}");
    }
    let there = report.lines().filter(|line| line.starts_with("ok ")).count();
    let uptime = report.lines().find_map(|line| line.strip_prefix(UPTIME)).unwrap_or("unknown");
    println!(
        "microvm-bed: {:?} {:.2} s after start ({uptime} s of them in the guest); {there} ok, {} missing",
        knock.trim_end(),
        ready.as_secs_f64(),
        missing.len()
    );
    Ok(missing.is_empty() && there > 0)
}

/// A folder with a short name, because names of unix sockets are at most 107 bytes long (unix(7)); removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self> {
        let folder = Path::new("/var/tmp").join(format!("ak-microvm-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("xtask: remove {}: {error}", self.0.display());
        }
    }
}
