//! Stopping the time of commands: a control group of theirs alone (cgroup-v2.rst, "cgroup.freeze"), so that no process sees
//! anything of it, and the agent goes on.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::mount;

/// How long commands may take to stand still: those that wait for a device do that first.
const PATIENCE: Duration = Duration::from_secs(10);

/// The group of all commands. Its files were opened before any of them ran, and no path leads to them.
pub(super) struct Freezer {
    members: File,
    freeze: File,
    events: File,
}

impl Freezer {
    /// A new group in the folder `parent` of the box's own group.
    pub(super) fn make(parent: &Path) -> Result<Self, String> {
        let folder = parent.join("commands");
        mount::folder(&folder, 0o755)?;
        let open = |name: &str, write: bool| {
            let path = folder.join(name);
            let opened = File::options().read(!write).write(write).open(&path);
            opened.map_err(|error| format!("open {}: {error}", path.display()))
        };
        Ok(Self {
            members: open("cgroup.procs", true)?,
            freeze: open("cgroup.freeze", true)?,
            events: open("cgroup.events", false)?,
        })
    }

    /// What a process writes "0" to, to become a member: it stands still then as long as the others do.
    pub(super) fn members(&self) -> Result<OwnedFd, String> {
        self.members.try_clone().map(OwnedFd::from).map_err(|error| format!("copy a descriptor: {error}"))
    }

    /// The numbers of what it has open.
    pub(super) fn descriptors(&self) -> [RawFd; 3] {
        [&self.members, &self.freeze, &self.events].map(AsRawFd::as_raw_fd)
    }

    /// Returns once no member runs; else they go on.
    pub(super) fn stop(&self) -> Result<(), String> {
        self.write("1")?;
        let deadline = Instant::now() + PATIENCE;
        while !self.all_stand_still()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.go_on()?;
                return Err(format!("its commands did not stand still within {} s", PATIENCE.as_secs()));
            }
            // A change of the file is told as an exception (cgroup-v2.rst, "[Un]populated Notification").
            let mut changed = [PollFd::new(&self.events, PollFlags::PRI)];
            let left = Timespec { tv_sec: 1, tv_nsec: 0 };
            rustix::event::poll(&mut changed, Some(&left)).map_err(mount::at("wait for the commands"))?;
        }
        Ok(())
    }

    /// Members run again.
    pub(super) fn go_on(&self) -> Result<(), String> {
        self.write("0")
    }

    fn write(&self, text: &str) -> Result<(), String> {
        self.freeze.write_all_at(text.as_bytes(), 0).map_err(|error| format!("write cgroup.freeze: {error}"))
    }

    fn all_stand_still(&self) -> Result<bool, String> {
        let mut text = [0; 256];
        let length =
            self.events.read_at(&mut text, 0).map_err(|error| format!("read cgroup.events: {error}"))?;
        Ok(stands_still(text.get(..length).unwrap_or_default()))
    }
}

fn stands_still(events: &[u8]) -> bool {
    events.split(|byte| *byte == b'\n').any(|line| line == b"frozen 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_line_says_so() {
        assert!(stands_still(b"populated 1\nfrozen 1\n"));
        for not in [&b"populated 1\nfrozen 0\n"[..], b"", b"frozen 10\n", b"unfrozen 1\n"] {
            assert!(!stands_still(not));
        }
    }
}
