//! The limits of a running box, read back from the kernel and not from what asked for them.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// What is in force for one process; `None` is unlimited.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) pids: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) open_files: Option<u64>,
}

impl Limits {
    /// Those of profile `moderate`, the default (docs/profiles.md; `Profile::resources`).
    pub(crate) fn moderate() -> Self {
        Self { memory_bytes: Some(512 << 20), pids: Some(1024), cpus: Some(1.0), open_files: Some(8192) }
    }

    /// Those in force for the process `pid`.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let groups =
            std::fs::read_to_string(format!("/proc/{pid}/cgroup")).context("read its control groups")?;
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).context("read its limits")?;
        let open_files = limits.lines().find(|line| line.starts_with("Max open files"));
        Ok(Self {
            memory_bytes: lowest(&groups, "memory", &["memory.max", "memory.limit_in_bytes"], memory),
            pids: lowest(&groups, "pids", &["pids.max"], |text| text.parse().ok()),
            cpus: lowest(&groups, "cpu", &["cpu.max"], bandwidth).or_else(|| cpu_quota(&groups)),
            open_files: open_files.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()),
        })
    }
}

/// The folders of the process's control group and of those above it, for a controller of v1 or all of v2.
fn folders(groups: &str, controller: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let mount = match controllers {
            "" if PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists() => "/sys/fs/cgroup".to_owned(),
            "" => "/sys/fs/cgroup/unified".to_owned(),
            _ if controllers.split(',').any(|name| name == controller) => {
                format!("/sys/fs/cgroup/{controller}")
            }
            _ => continue,
        };
        let full = PathBuf::from(format!("{mount}{path}"));
        folders.extend(full.ancestors().take_while(|folder| folder.starts_with(&mount)).map(PathBuf::from));
    }
    folders
}

/// The tightest value on the way up: a group's limit holds for all below it.
fn lowest<T: PartialOrd>(
    groups: &str,
    controller: &str,
    files: &[&str],
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let found = folders(groups, controller).into_iter().flat_map(|folder| {
        files.iter().filter_map(|file| std::fs::read_to_string(folder.join(file)).ok()).collect::<Vec<_>>()
    });
    found.filter_map(|text| parse(text.trim())).reduce(|low, next| if next < low { next } else { low })
}

/// Version 1 says "unlimited" with a number near the largest there is.
fn memory(text: &str) -> Option<u64> {
    text.parse().ok().filter(|bytes| *bytes < 1 << 62)
}

/// `MAX PERIOD` of version 2, in cores.
fn bandwidth(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

/// The two files of version 1, in cores.
fn cpu_quota(groups: &str) -> Option<f64> {
    let number =
        |folder: &PathBuf, file| std::fs::read_to_string(folder.join(file)).ok()?.trim().parse::<f64>().ok();
    let found = folders(groups, "cpu").into_iter().filter_map(|folder| {
        let quota = number(&folder, "cpu.cfs_quota_us").filter(|quota| *quota > 0.0)?;
        Some(quota / number(&folder, "cpu.cfs_period_us")?)
    });
    found.reduce(f64::min)
}

/// The process whose arguments hold `token` and whose program is not `launcher`.
pub(crate) fn process_with(token: &str, launcher: &str) -> Option<u32> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        !program.ends_with(launcher.as_bytes()) && words.any(|word| word == token.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_kernel_writes_them() {
        assert_eq!(memory("9223372036854771712"), None);
        assert_eq!(memory("536870912"), Some(512 << 20));
        assert_eq!(memory("max"), None);
        assert_eq!(bandwidth("150000 100000"), Some(1.5));
        assert_eq!(bandwidth("max 100000"), None);
    }

    #[test]
    fn a_process_has_limits() {
        let limits = Limits::of(std::process::id()).unwrap();
        assert!(limits.open_files.is_some());
    }
}
