//! Ending all processes of a group, waiting for their end, and removing it. Waits are on the kernel's own notices
//! (`cgroup.events`, pidfds) with a deadline.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::group::{Cgroup, Folder};
use super::mounts::Version;
use super::{CgroupError, Resource};

/// How often it is looked again where the kernel gives no notice.
const INTERVAL: Duration = Duration::from_millis(1);

pub(super) fn kill(group: &Cgroup, deadline: Duration) -> Result<(), CgroupError> {
    let until = Instant::now() + deadline;
    let whole = group.folders().iter().any(kills_as_one);
    if !whole {
        forbid_forks(group);
    }
    for folder in group.folders() {
        loop {
            let processes = if whole { Vec::new() } else { signal_all(folder)? };
            if wait_until_empty(folder, &processes, until)? {
                break;
            }
            if Instant::now() >= until {
                return Err(busy(folder, deadline));
            }
        }
    }
    Ok(())
}

/// Linux 5.14 on: the kernel kills all processes, those being forked included.
fn kills_as_one(folder: &Folder) -> bool {
    folder.version() == Version::Two && folder.write("cgroup.kill", "1").is_ok()
}

/// Best effort: where neither works, killing is repeated until nobody is left.
fn forbid_forks(group: &Cgroup) {
    for folder in group.folders() {
        let stopped = match (folder.has(Resource::Pids), folder.version()) {
            (true, _) => folder.write("pids.max", "0"),
            (false, Version::Two) => folder.write("cgroup.freeze", "1"),
            (false, Version::One) => Ok(()),
        };
        if let Err(error) = stopped {
            tracing::debug!(%error, "forks go on while a control group is killed");
        }
    }
}

/// Sends SIGKILL to all in `folder`; returns handles of them. A number that was used again meanwhile isn't hit: each is
/// in the group after its handle was taken, so the handle is either of that process or of a dead one.
fn signal_all(folder: &Folder) -> Result<Vec<OwnedFd>, CgroupError> {
    let handles: Vec<(Pid, OwnedFd)> = folder
        .processes()?
        .into_iter()
        .filter_map(|process| {
            Some((process, rustix::process::pidfd_open(process, PidfdFlags::empty()).ok()?))
        })
        .collect();
    let still_there = folder.processes()?;
    let mut signalled = Vec::new();
    for (process, handle) in handles.into_iter().filter(|(process, _)| still_there.contains(process)) {
        match rustix::process::pidfd_send_signal(&handle, Signal::KILL) {
            Ok(()) => signalled.push(handle),
            Err(Errno::SRCH) => {}
            Err(source) => {
                return Err(folder.failed(
                    "kill a process of",
                    &process.as_raw_nonzero().to_string(),
                    source,
                ));
            }
        }
    }
    Ok(signalled)
}

/// Waits for one change at most; whether the group is empty. `processes` may be all, some or none of those in it.
fn wait_until_empty(folder: &Folder, processes: &[OwnedFd], until: Instant) -> Result<bool, CgroupError> {
    if folder.version() == Version::Two && processes.is_empty() {
        return wait_for_event(folder, until);
    }
    for process in processes {
        wait(process, PollFlags::IN, until);
    }
    if folder.processes()?.is_empty() {
        return Ok(true);
    }
    if processes.is_empty() {
        pause(until);
    }
    Ok(false)
}

/// `cgroup.events` says whether processes are in the group or below it, and raises POLLPRI when that changes.
fn wait_for_event(folder: &Folder, until: Instant) -> Result<bool, CgroupError> {
    let events = match folder.open_file("cgroup.events", OFlags::RDONLY) {
        Ok(events) => events,
        Err(CgroupError::System { source: Errno::NOENT, .. }) => return Ok(true),
        Err(error) => return Err(error),
    };
    loop {
        let mut buffer = [0; 256];
        let length = match rustix::io::pread(&events, &mut buffer, 0) {
            Err(Errno::NODEV) => return Ok(true),
            length => length.map_err(|source| folder.failed("read", "cgroup.events", source))?,
        };
        if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == "populated 0") {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        wait(&events, PollFlags::PRI, until);
    }
}

/// Until `fd` is ready or the time is up; the caller looks again in any case, so errors and signals need no answer.
fn wait(fd: &OwnedFd, flags: PollFlags, until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    poll_for(&mut [PollFd::new(fd, flags)], left);
}

/// For what gives no notice: the last moments of a process's end on v1, and processes without a number here.
fn pause(until: Instant) {
    poll_for(&mut [], until.saturating_duration_since(Instant::now()).min(INTERVAL));
}

fn poll_for(fds: &mut [PollFd<'_>], time: Duration) {
    let timeout = Timespec::try_from(time).ok();
    if let Err(error) = poll(fds, timeout.as_ref()) {
        tracing::trace!(%error, "waiting for a control group was interrupted");
    }
}

/// Removes `folder` once nobody is in it.
pub(super) fn remove(folder: &Folder, until: Instant, deadline: Duration) -> Result<(), CgroupError> {
    loop {
        match rustix::fs::rmdir(folder.path()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) => {}
            Err(source) => return Err(folder.failed("remove", "", source)),
        }
        if Instant::now() >= until {
            return Err(busy(folder, deadline));
        }
        let handles: Vec<OwnedFd> = folder
            .processes()?
            .into_iter()
            .filter_map(|process| rustix::process::pidfd_open(process, PidfdFlags::empty()).ok())
            .collect();
        if wait_until_empty(folder, &handles, until)? {
            remove_below(folder.path(), 0);
            if let Err(Errno::BUSY | Errno::NOTEMPTY) = rustix::fs::rmdir(folder.path()) {
                pause(until);
            }
        }
    }
}

/// Groups in the group: no box can make any, but an administrator may have. Best effort, since the outer removal tells.
fn remove_below(path: &Path, depth: usize) {
    const DEEPEST: usize = 16;
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if depth < DEEPEST && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path(), depth + 1);
            if let Err(error) = fs::remove_dir(entry.path()) {
                tracing::debug!(%error, path = %entry.path().display(), "a group in a group stays");
            }
        }
    }
}

fn busy(folder: &Folder, deadline: Duration) -> CgroupError {
    let processes = folder.processes().unwrap_or_default();
    CgroupError::Busy {
        path: folder.path().to_owned(),
        processes: processes.into_iter().map(|process| process.as_raw_nonzero().get()).collect(),
        waited_millis: deadline.as_millis(),
    }
}
