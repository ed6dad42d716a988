//! From a ready command to a running one: the agent forks a supervisor, the supervisor forks the command's process, and
//! that process becomes the command.

use std::convert::Infallible;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;
use rustix::thread::{Gid, Uid};

use crate::command::Command;
use crate::raw::{self, Fork};
use crate::report::{Stage, StartFailure};
use crate::{capability, supervisor};

/// Commands are killed before the agent when memory runs out.
const OOM_SCORE: &[u8] = b"500";

/// The command's ends of its standard streams. With a terminal all three are the same.
pub(crate) struct Stdio {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) terminal: bool,
}

/// Starts `command` under a supervisor of its own. Returns the supervisor and the socket to it; whether the command
/// itself starts comes as a report. Both become members of `group`, where there is one.
pub(crate) fn launch(
    mut command: Command,
    stdio: Stdio,
    group: Option<&OwnedFd>,
) -> Result<(Pid, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    match raw::fork()? {
        Fork::Child => supervisor::run(&mut command, &stdio, &theirs, group),
        Fork::Parent(pid) => Ok((pid, ours)),
    }
}

/// Becomes the command; on failure says so through `failed`, which closes by itself on success. Runs between fork and
/// exec: allocates nothing.
pub(crate) fn become_command(command: &mut Command, stdio: &Stdio, failed: &OwnedFd) -> ! {
    // An uninhabited success: there is only failure to report.
    let Err(failure) = set_up(command, stdio, failed.as_raw_fd()).and_then(|()| exec(command));
    // Where the supervisor is gone nobody is left to tell.
    if rustix::io::write(failed, &failure.encode()).is_err() {
        raw::exit_now(126);
    }
    raw::exit_now(127)
}

fn at(stage: Stage) -> impl Fn(Errno) -> StartFailure {
    move |error| StartFailure { stage, error }
}

fn set_up(command: &Command, stdio: &Stdio, failed: RawFd) -> Result<(), StartFailure> {
    let setup = at(Stage::Setup);
    raw::reset_signals();
    rustix::process::setsid().map_err(&setup)?;
    raise_oom_score();
    let identity = &command.identity;
    if stdio.terminal {
        rustix::process::ioctl_tiocsctty(&stdio.stdin).map_err(&setup)?;
        // So that programs can open their own terminal by its name; where chown isn't allowed they do without.
        let owner = rustix::fs::fchown(&stdio.stdin, Some(identity.uid), Some(identity.gid));
        owner.or_else(|error| if error == Errno::PERM { Ok(()) } else { Err(error) }).map_err(&setup)?;
    }
    rustix::stdio::dup2_stdin(&stdio.stdin).map_err(&setup)?;
    rustix::stdio::dup2_stdout(&stdio.stdout).map_err(&setup)?;
    rustix::stdio::dup2_stderr(&stdio.stderr).map_err(&setup)?;
    raw::close_all_but(&mut [0, 1, 2, failed]);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    capability::drop_bounding(command.capabilities).map_err(at(Stage::Capabilities))?;
    become_user(identity.uid, identity.gid, &identity.groups).map_err(at(Stage::User))?;
    capability::drop_held(command.capabilities).map_err(at(Stage::Capabilities))?;
    rustix::process::chdir(command.workdir.as_c_str()).map_err(at(Stage::Workdir))
}

/// Best effort: /proc may be read-only or missing.
fn raise_oom_score() {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::openat(CWD, c"/proc/self/oom_score_adj", flags, Mode::empty()) {
        rustix::io::write(&file, OOM_SCORE).ok();
    }
}

fn become_user(uid: Uid, gid: Gid, groups: &[Gid]) -> Result<(), Errno> {
    match rustix::thread::set_thread_groups(groups) {
        // A user namespace with a single id denies setgroups(2) (user_namespaces(7)), and has no groups to drop.
        Err(Errno::PERM) if groups.is_empty() && uid.is_root() && gid.is_root() => {}
        other => other?,
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// As execvpe(3): a candidate that isn't there is skipped, one that may not be executed is remembered.
fn exec(command: &mut Command) -> Result<Infallible, StartFailure> {
    let mut last = at(Stage::Search)(Errno::NOENT);
    for candidate in &command.candidates {
        let Err(mut error) = raw::exec(candidate, &command.arguments, &command.environment);
        if error == Errno::NOEXEC {
            let Err(shell) = command.script.exec(candidate, &command.environment);
            error = if shell == Errno::NOENT { Errno::NOEXEC } else { shell };
        }
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT => {
                let exists =
                    rustix::fs::accessat(CWD, candidate.as_c_str(), Access::EXISTS, AtFlags::empty()).is_ok();
                if exists && last.stage == Stage::Search {
                    last = at(Stage::Interpreter)(error);
                }
            }
            Errno::ACCESS => last = at(Stage::Exec)(error),
            _ => return Err(at(Stage::Exec)(error)),
        }
    }
    Err(last)
}
