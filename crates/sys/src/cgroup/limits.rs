//! From limits to the kernel's files, and whether the kernel keeps them.

use std::fmt;

use rustix::io::Errno;

use super::CgroupError;
use super::group::Folder;
use super::mounts::Version;

/// Both versions count a cpu limit in microseconds of each tenth of a second: v1's default period, and v2's.
const CPU_PERIOD_MICROS: u64 = 100_000;

/// Linux never has more processes and threads (pid_max in proc_sys_kernel(5)), and takes no greater number for a limit of
/// them: one that was asked for is kept by this.
pub const MOST_PIDS: u32 = 1 << 22;

/// A resource that a group can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Memory, page cache and tmpfs included, and swap.
    Memory,
    /// Processor time.
    Cpu,
    /// Processes and threads.
    Pids,
}

/// What a group is limited to. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupLimits {
    /// Memory in bytes, rounded down to whole pages by the kernel. No swap comes on top of it.
    pub memory_bytes: Option<u64>,
    /// Processor time in thousandths of one core, 10 at least.
    pub cpu_millis: Option<u32>,
    /// Processes and threads together.
    pub pids: Option<u32>,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// The kernel's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl CgroupLimits {
    /// The controllers that these limits need.
    pub fn controllers(&self) -> impl Iterator<Item = Resource> {
        let needed = [self.memory_bytes.is_some(), self.cpu_millis.is_some(), self.pids.is_some()];
        Resource::ALL.into_iter().zip(needed).filter_map(|(controller, needed)| needed.then_some(controller))
    }

    /// Sets what `controllers` limit in `folder`, and reads each back.
    pub(super) fn apply(&self, folder: &Folder, controllers: &[Resource]) -> Result<(), CgroupError> {
        for controller in controllers {
            match (controller, self.memory_bytes, self.cpu_millis, self.pids) {
                (Resource::Memory, Some(bytes), _, _) => memory(folder, bytes)?,
                (Resource::Cpu, _, Some(millis), _) => cpu(folder, millis)?,
                (Resource::Pids, _, _, Some(pids)) => {
                    let pids = pids.min(MOST_PIDS).to_string();
                    set(folder, "pids.max", &pids, same(&pids))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A limit of memory without one of swap would only move the excess to swap.
fn memory(folder: &Folder, bytes: u64) -> Result<(), CgroupError> {
    let wanted = bytes.to_string();
    match folder.version() {
        Version::One => {
            set(folder, "memory.limit_in_bytes", &wanted, at_most(bytes))?;
            // Memory and swap together; the kernel wants it to be no less than memory alone, so it comes second. Without
            // accounting of swap the file is missing, and the group's pages must then not go to swap at all.
            let both = set(folder, "memory.memsw.limit_in_bytes", &wanted, at_most(bytes));
            or_where_missing(both, || set(folder, "memory.swappiness", "0", same("0")))
        }
        Version::Two => {
            set(folder, "memory.max", &wanted, at_most(bytes))?;
            // Missing where the kernel has no swap at all.
            or_where_missing(set(folder, "memory.swap.max", "0", same("0")), || Ok(()))
        }
    }
}

fn cpu(folder: &Folder, millis: u32) -> Result<(), CgroupError> {
    let quota = u64::from(millis) * CPU_PERIOD_MICROS / 1000;
    match folder.version() {
        Version::One => set(folder, "cpu.cfs_quota_us", &quota.to_string(), same(&quota.to_string())),
        Version::Two => {
            let wanted = format!("{quota} {CPU_PERIOD_MICROS}");
            set(folder, "cpu.max", &wanted, same(&wanted))
        }
    }
}

fn set(
    folder: &Folder,
    file: &'static str,
    wanted: &str,
    keeps: impl Fn(&str) -> bool,
) -> Result<(), CgroupError> {
    let found = folder.write_and_read_back(file, wanted)?;
    if keeps(&found) {
        return Ok(());
    }
    Err(CgroupError::NotApplied { path: folder.path().join(file), wanted: wanted.to_owned(), found })
}

fn same(wanted: &str) -> impl Fn(&str) -> bool {
    move |found| found == wanted
}

/// Rounding down to pages is fine. `max`, v1's huge number for "no limit", and 0 are not.
fn at_most(wanted: u64) -> impl Fn(&str) -> bool {
    move |found| found.parse().is_ok_and(|found: u64| found > 0 && found <= wanted)
}

fn or_where_missing(
    result: Result<(), CgroupError>,
    otherwise: impl FnOnce() -> Result<(), CgroupError>,
) -> Result<(), CgroupError> {
    match result {
        Err(CgroupError::System { source: Errno::NOENT, .. }) => otherwise(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_became_no_limit_is_noticed() {
        let keeps = at_most(10 << 20);
        assert!(keeps("10485760"));
        assert!(keeps("10481664"), "rounded to pages");
        for bad in ["max", "9223372036854771712", "10485761", "0", "", "-1"] {
            assert!(!keeps(bad), "{bad}");
        }
    }

    #[test]
    fn only_the_controllers_that_are_needed() {
        let limits = CgroupLimits { pids: Some(5), memory_bytes: Some(1), cpu_millis: None };
        assert_eq!(limits.controllers().collect::<Vec<_>>(), [Resource::Memory, Resource::Pids]);
        assert_eq!(CgroupLimits::default().controllers().count(), 0);
    }
}
