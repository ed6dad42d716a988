//! One group: a folder in each hierarchy that limits it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use super::mounts::Version;
use super::{CgroupError, Resource, kill};

/// How long processes may take to end after SIGKILL: large ones free gigabytes, and the machine may be loaded.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest control file that is read: a list of a million processes.
const LONGEST_FILE: usize = 8 << 20;

/// A control group. From [`super::CgroupHost::create`] it is a guard: it ends all in it and is removed on drop unless
/// disarmed.
#[derive(Debug)]
pub struct Cgroup {
    folders: Vec<Folder>,
    armed: bool,
}

/// What a group uses; `None` where no controller of the group counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupUsage {
    /// Memory, page cache and tmpfs included.
    pub memory_bytes: Option<u64>,
    /// Processor time since it was made.
    pub cpu: Option<Duration>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl Cgroup {
    pub(super) fn armed() -> Self {
        Self { folders: Vec::new(), armed: true }
    }

    pub(super) fn push(&mut self, folder: Folder) -> &Folder {
        self.folders.push(folder);
        &self.folders[self.folders.len() - 1]
    }

    pub(super) fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// Whether it has no folder: made without limits.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Its folders, for messages and records.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(|folder| folder.path.as_path())
    }

    /// Lets it outlive this handle.
    pub fn keep(mut self) {
        self.disarm();
    }

    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }

    /// The v2 folder, where there is one, for CLONE_INTO_CGROUP: a child born there never runs without its limits.
    pub fn birth_folder(&self) -> Option<BorrowedFd<'_>> {
        let folder = self.folders.iter().find(|folder| folder.version == Version::Two)?;
        Some(folder.directory.as_fd())
    }

    /// Moves a process into it, in all hierarchies. The process should be waiting, since until now it ran without
    /// limits.
    pub fn add(&self, process: Pid) -> Result<(), CgroupError> {
        let id = process.as_raw_nonzero().to_string();
        self.folders.iter().try_for_each(|folder| folder.write("cgroup.procs", &id))
    }

    /// The processes in it that this process's pid namespace can name, in ascending order.
    pub fn processes(&self) -> Result<Vec<Pid>, CgroupError> {
        let mut processes = Vec::new();
        for folder in &self.folders {
            processes.extend(folder.processes()?);
        }
        processes.sort_unstable_by_key(|process| process.as_raw_nonzero());
        processes.dedup();
        Ok(processes)
    }

    /// Ends all in it with SIGKILL and waits until it is empty. No process escapes by forking: the kernel kills the
    /// group as one (v2), or first no fork is allowed any more (pids controller), or it is repeated until none is left.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] where a process doesn't end within ten seconds (it hangs in the kernel).
    pub fn kill(&self) -> Result<(), CgroupError> {
        kill::kill(self, DEADLINE)
    }

    /// What it uses now.
    pub fn usage(&self) -> Result<CgroupUsage, CgroupError> {
        let mut usage = CgroupUsage::default();
        for folder in &self.folders {
            usage.pids = usage.pids.or(folder.read_number("pids.current")?);
            match folder.version {
                Version::One => {
                    usage.memory_bytes = usage.memory_bytes.or(folder.read_number("memory.usage_in_bytes")?);
                    let nanos = folder.read_number("cpuacct.usage")?;
                    usage.cpu = usage.cpu.or(nanos.map(Duration::from_nanos));
                }
                Version::Two => {
                    usage.memory_bytes = usage.memory_bytes.or(folder.read_number("memory.current")?);
                    let micros = folder.read_entry("cpu.stat", "usage_usec")?;
                    usage.cpu = usage.cpu.or(micros.map(Duration::from_micros));
                }
            }
        }
        Ok(usage)
    }

    /// How many of its processes the kernel killed because the group was out of memory; `None` where nobody counts.
    pub fn oom_kills(&self) -> Result<Option<u64>, CgroupError> {
        for folder in self.folders.iter().filter(|folder| folder.controllers.contains(&Resource::Memory)) {
            let file = match folder.version {
                Version::One => "memory.oom_control",
                Version::Two => "memory.events",
            };
            if let Some(count) = folder.read_entry(file, "oom_kill")? {
                return Ok(Some(count));
            }
        }
        Ok(None)
    }

    /// Removes it once it is empty; fine if it is gone already. Kills nothing: see [`Self::kill`].
    ///
    /// # Errors
    /// [`CgroupError::Busy`] where processes are left after ten seconds.
    pub fn remove(mut self) -> Result<(), CgroupError> {
        self.remove_within(DEADLINE)
    }

    pub(super) fn remove_within(&mut self, deadline: Duration) -> Result<(), CgroupError> {
        let until = Instant::now() + deadline;
        while let Some(folder) = self.folders.last() {
            kill::remove(folder, until, deadline)?;
            self.folders.pop();
        }
        self.armed = false;
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // An empty group goes at the first try.
        let removed = self
            .remove_within(Duration::ZERO)
            .or_else(|_| self.kill().and_then(|()| self.remove_within(DEADLINE)));
        if let Err(error) = removed {
            tracing::warn!(%error, "a control group is left behind");
        }
    }
}

/// A group's folder in one hierarchy.
#[derive(Debug)]
pub(super) struct Folder {
    version: Version,
    path: PathBuf,
    directory: OwnedFd,
    controllers: Vec<Resource>,
}

impl Folder {
    pub(super) fn open(
        version: Version,
        path: PathBuf,
        controllers: &[Resource],
    ) -> Result<Self, CgroupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { version, path, directory, controllers: controllers.to_vec() }),
            Err(source) => Err(CgroupError::System { action: "open", path, source }),
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn has(&self, controller: Resource) -> bool {
        self.controllers.contains(&controller)
    }

    pub(super) fn open_file(&self, file: &'static str, flags: OFlags) -> Result<OwnedFd, CgroupError> {
        rustix::fs::openat(&self.directory, file, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|source| self.failed("open", file, source))
    }

    pub(super) fn write(&self, file: &'static str, value: &str) -> Result<(), CgroupError> {
        self.write_to(&self.open_file(file, OFlags::WRONLY)?, file, value)
    }

    pub(super) fn write_and_read_back(&self, file: &'static str, value: &str) -> Result<String, CgroupError> {
        let open = self.open_file(file, OFlags::RDWR)?;
        self.write_to(&open, file, value)?;
        let mut buffer = [0; 64];
        let length =
            rustix::io::pread(&open, &mut buffer, 0).map_err(|source| self.failed("read", file, source))?;
        Ok(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())
    }

    /// The kernel takes a control file's value in one piece or not at all.
    fn write_to(&self, open: &OwnedFd, file: &'static str, value: &str) -> Result<(), CgroupError> {
        match rustix::io::write(open, value.as_bytes()) {
            Ok(length) if length == value.len() => Ok(()),
            Ok(_) => Err(self.failed("write", file, Errno::IO)),
            Err(source) => Err(self.failed("write", file, source)),
        }
    }

    pub(super) fn read(&self, file: &'static str) -> Result<String, CgroupError> {
        let open = self.open_file(file, OFlags::RDONLY)?;
        let mut text = Vec::new();
        loop {
            let (filled, room) = (text.len(), 4096);
            text.resize(filled + room, 0);
            let length = rustix::io::read(&open, &mut text[filled..])
                .map_err(|source| self.failed("read", file, source))?;
            text.truncate(filled + length);
            if length == 0 || text.len() > LONGEST_FILE {
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
        }
    }

    /// A file that is missing because its controller isn't here gives `None`.
    fn read_number(&self, file: &'static str) -> Result<Option<u64>, CgroupError> {
        Ok(missing_is_none(self.read(file))?.and_then(|text| text.trim().parse().ok()))
    }

    /// One line `key number` of several.
    pub(super) fn read_entry(&self, file: &'static str, key: &str) -> Result<Option<u64>, CgroupError> {
        let text = missing_is_none(self.read(file))?;
        Ok(text.and_then(|text| entry(&text, key)))
    }

    /// Processes of other pid namespaces read as 0 and are left out.
    pub(super) fn processes(&self) -> Result<Vec<Pid>, CgroupError> {
        let text = missing_is_none(self.read("cgroup.procs"))?.unwrap_or_default();
        Ok(text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect())
    }

    pub(super) fn failed(&self, action: &'static str, file: &str, source: Errno) -> CgroupError {
        CgroupError::System { action, path: self.path.join(file), source }
    }
}

/// ENODEV is what an open control file of a removed group gives.
fn missing_is_none<T>(result: Result<T, CgroupError>) -> Result<Option<T>, CgroupError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CgroupError::System { source: Errno::NOENT | Errno::NODEV, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn entry(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}
