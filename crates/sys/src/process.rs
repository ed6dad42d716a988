//! Making and watching processes: clone3(2) into new namespaces, pidfds, and who a process really is.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

/// The namespaces that a box gets, as clone3(2) flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// None: the child stays where its parent is.
    pub const NONE: Self = Self(0);
    /// User, mount, pid, net, ipc and uts. The cgroup namespace is made by [`crate::steps::Step::CgroupNamespace`], once
    /// the process is in its group, so that it sees that group as the root.
    pub const BOX: Self = Self(
        (libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS) as u64,
    );
    /// The same without one for users, for a process that root makes: mount, pid, net, ipc and uts.
    pub const SERVICE: Self = Self(Self::BOX.0 & !(libc::CLONE_NEWUSER as u64));
    /// A user namespace alone: carries an id mapping for idmapped mounts.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// A mount namespace alone: what is mounted there goes with its last process. Only root can.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
}

/// Of linux/sched.h; libc's constant overflows its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child of this process. Not killed on drop: who made it decides.
#[derive(Debug)]
pub struct Child {
    /// Its process id, seen from here.
    pub pid: Pid,
    /// Refers to it for good, even after the number is used again.
    pub pidfd: OwnedFd,
}

/// What clone3(2) takes; see its man page.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Clones this process into new `namespaces`; the child runs `child`, which must end in exec or exit, and never
/// returns. With `cgroup`, a cgroup v2 folder, it is born in there (CLONE_INTO_CGROUP).
///
/// # Safety
/// The child is a copy of the calling thread alone. `child` must be child-safe: no allocation, no locks, nothing but
/// raw system calls, since another thread of the parent may hold any lock at the moment of the copy.
#[expect(unsafe_code, reason = "clone3 has no safe wrapper")]
pub(crate) unsafe fn clone_into(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: &mut dyn FnMut() -> std::convert::Infallible,
) -> io::Result<Child> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: namespaces.0 | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: args is a valid clone_args of its size, no stack is given (fork semantics), and the pidfd pointer outlives
    // the call. The child's duties are the caller's, by this function's contract.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => run_child(child),
        pid => {
            // SAFETY: the kernel has just put a new descriptor there that nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
            Ok(Child { pid, pidfd })
        }
    }
}

#[expect(unreachable_code, reason = "an empty match is how a value that can't be is turned into any other")]
fn run_child<Any>(child: &mut dyn FnMut() -> std::convert::Infallible) -> Any {
    match child() {}
}

impl Child {
    /// SIGKILL; fine if it has ended.
    pub fn kill(&self) -> io::Result<()> {
        kill(&self.pidfd)
    }

    /// Waits for its end and takes it from the process table; fine if somebody has done so.
    pub fn reap(&self) -> io::Result<()> {
        loop {
            match rustix::process::waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(_) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// A process identified for good: its number and its start, which no later process with the same number shares until
/// the machine starts anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The number.
    pub pid: u32,
    /// Field 22 of /proc/PID/stat: clock ticks after boot (proc_pid_stat(5)).
    pub start_ticks: u64,
    /// /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// Of the living process `pid`.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: start_ticks(pid)?, boot_id: boot_id()? })
    }

    /// A pidfd of it, or `None` where it has ended (a zombie counts as ended).
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        if boot_id()? != self.boot_id {
            return Ok(None);
        }
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // The descriptor pins the process, so what is read now belongs to it.
        match start_ticks(self.pid) {
            Ok(ticks) if ticks == self.start_ticks && !is_ended(&pidfd)? => Ok(Some(pidfd)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// SIGKILL to the process of `pidfd`; fine if it has ended.
pub fn kill(pidfd: &OwnedFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether `fd`, which somebody else made, is a pidfd: any other is an error.
pub fn check_pidfd(fd: &OwnedFd) -> io::Result<()> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    // waitid(2): EBADF for what is no pidfd, ECHILD for one of somebody else's child; nothing is taken (WNOWAIT).
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::PidFd(fd.as_fd()), options) {
        Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// SIGKILL to the process of `pidfd`, and waits until it has ended; a process namespace ends with its first process.
pub fn kill_and_wait(pidfd: &OwnedFd) -> io::Result<()> {
    kill(pidfd)?;
    wait_ended(pidfd, None)?;
    Ok(())
}

/// Whether the process of `pidfd` has ended.
pub fn is_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    wait_ended(pidfd, Some(std::time::Duration::ZERO))
}

/// Waits until the process of `pidfd` has ended, for at most `limit`; false when that has passed.
pub fn wait_ended(pidfd: &OwnedFd, limit: Option<std::time::Duration>) -> io::Result<bool> {
    let deadline = limit.map(|limit| std::time::Instant::now() + limit);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
        let timeout = left.map(|left| rustix::event::Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut fds = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn start_ticks(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; the fields after its last parenthesis start with the third.
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19))
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is malformed")))
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_outlives_its_process_only_as_a_no() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity = ProcessIdentity::of(sleeper.id()).unwrap();
        assert!(identity.open().unwrap().is_some());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(identity.open().unwrap().is_none());
        let other = ProcessIdentity { start_ticks: 1, ..ProcessIdentity::of(std::process::id()).unwrap() };
        assert!(other.open().unwrap().is_none(), "same number, other start");
    }

    #[test]
    fn only_a_pidfd_is_one() {
        let own = crate::companion::open_process(std::process::id()).unwrap().unwrap();
        check_pidfd(&own).unwrap();
        let init = crate::companion::open_process(1).unwrap().unwrap();
        check_pidfd(&init).unwrap();
        let other = std::fs::File::open("/dev/null").unwrap();
        assert!(check_pidfd(&other.into()).is_err());
    }
}
