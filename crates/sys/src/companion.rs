//! A program that lives as long as another process: started in the background, belonging to nobody, killed when the
//! process it accompanies has ended. For helpers of a box that outlive the command which started the box, where nothing
//! of ours stays running that could stop them.

use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::descriptor_table::close_all_but;
use crate::process::{Namespaces, clone_into};

/// What is started.
#[derive(Debug)]
pub struct Companion<'a> {
    /// The program's path.
    pub program: &'a CStr,
    /// Its arguments, the first being its own name.
    pub arguments: &'a [CString],
    /// Its environment.
    pub environment: &'a [CString],
    /// The process that it must not outlive.
    pub accompanied: BorrowedFd<'a>,
    /// Where its standard output and error go.
    pub output: BorrowedFd<'a>,
    /// What it reads: usually /dev/null.
    pub input: BorrowedFd<'a>,
}

impl Companion<'_> {
    /// Starts it. A small watcher, in a session of its own and a child of init, is its parent: it waits for whichever
    /// ends first, the program or the accompanied process, and kills the program in the second case. It keeps nothing
    /// open but what it waits on. Should somebody kill the watcher, the kernel kills the program: none runs unwatched, unless
    /// it changes its user or executes what has more rights (prctl(2), PR_SET_PDEATHSIG). Returns when the watcher is on its way; whether the program could be executed shows
    /// in its own signs of life.
    pub fn start(&self) -> io::Result<()> {
        let arguments: Vec<*const c_char> = pointers(self.arguments);
        let environment: Vec<*const c_char> = pointers(self.environment);
        start_detached(&mut || watch(self, &arguments, &environment))
    }
}

/// Ends a process with something else: kills the process of `pidfd` as soon as `life` is readable or has hung up, which the
/// reading end of a pipe does when its last writing end is closed, by whoever holds that, however it ends. A small
/// watcher, in a session of its own and a child of init, waits for that or for the end of the process. Returns when the
/// watcher is on its way.
pub fn end_with(life: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> io::Result<()> {
    start_detached(&mut || {
        if rustix::process::setsid().is_err() {
            exit(1);
        }
        keep_only(life, pidfd);
        kill_at_end(life, pidfd)
    })
}

/// Starts a process that is nobody's child: clones one that clones another with `child` and ends.
fn start_detached(child: &mut dyn FnMut() -> Infallible) -> io::Result<()> {
    let mut intermediate = || {
        #[expect(unsafe_code, reason = "the watcher must not be this process's child")]
        // SAFETY: `child` is child-safe by the contract of this module: system calls only, then _exit.
        let started = unsafe { clone_into(Namespaces::NONE, None, child) };
        exit(i32::from(started.is_err()))
    };
    #[expect(unsafe_code, reason = "a child that starts the watcher and ends")]
    // SAFETY: the closure makes system calls only (clone_into allocates nothing), then _exit.
    let child = unsafe { clone_into(Namespaces::NONE, None, &mut intermediate) }?;
    let status =
        rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child.pid), WaitOptions::empty()))?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        _ => Err(io::Error::other("the watcher of a background program could not be started")),
    }
}

/// Waits for either and kills the process of `pidfd`, also when polling failed: it must not run unwatched. One that has
/// ended already is no error. Child-safe.
fn kill_at_end(life: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> ! {
    let mut fds = [PollFd::new(&life, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
    while rustix::event::poll(&mut fds, None) == Err(Errno::INTR) {}
    let killed = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
    exit(i32::from(killed.is_err()))
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// The watcher's life. Child-safe.
fn watch(
    companion: &Companion<'_>,
    arguments: &[*const c_char],
    environment: &[*const c_char],
) -> Infallible {
    if rustix::process::setsid().is_err() {
        exit(1);
    }
    let watcher = rustix::process::getpid();
    let mut program = || execute(companion, watcher, arguments, environment);
    #[expect(unsafe_code, reason = "a child that becomes the program")]
    // SAFETY: `execute` is child-safe: system calls only, then execve or _exit.
    let started = unsafe { clone_into(Namespaces::NONE, None, &mut program) };
    let Ok(child) = started else { exit(1) };
    // Everything else this process had open belongs to its ancestor: a stream held open here would never end there.
    keep_only(companion.accompanied, child.pidfd.as_fd());
    kill_at_end(companion.accompanied, child.pidfd.as_fd())
}

/// Closes all but these two. Child-safe.
fn keep_only(one: BorrowedFd<'_>, other: BorrowedFd<'_>) {
    let mut keep = [one.as_raw_fd(), other.as_raw_fd()];
    keep.sort_unstable();
    // There is nobody to tell where it fails (Linux before 5.9).
    close_all_but(0, &keep).ok();
}

/// Becomes the program.
fn execute(
    companion: &Companion<'_>,
    watcher: Pid,
    arguments: &[*const c_char],
    environment: &[*const c_char],
) -> Infallible {
    let prepared = (|| {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have been killed before that was asked for.
        if rustix::process::getppid() != Some(watcher) {
            return Err(Errno::SRCH);
        }
        rustix::stdio::dup2_stdin(companion.input)?;
        rustix::stdio::dup2_stdout(companion.output)?;
        rustix::stdio::dup2_stderr(companion.output)
    })();
    if prepared.is_ok() {
        close_all_but(3, &[]).ok();
        default_signals();
        #[expect(unsafe_code, reason = "rustix's execve is unsafe too")]
        // SAFETY: both lists are NUL-terminated and end with a null pointer; they outlive the call.
        unsafe {
            libc::execve(companion.program.as_ptr(), arguments.as_ptr(), environment.as_ptr())
        };
    }
    exit(127)
}

/// As a shell would hand them over: this process's runtime ignores SIGPIPE, which `pasta` takes for a failure of its own,
/// and a blocked signal stays blocked over exec.
#[expect(unsafe_code, reason = "signal masks have no safe wrapper")]
fn default_signals() {
    // SAFETY: all zeros is a valid sigset_t, filled before it is read; both calls are async-signal-safe
    // (signal-safety(7)) and no handler of this program is running in the child.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

#[expect(unsafe_code, reason = "ends a child without running the parent's exit handlers")]
fn exit(code: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(code) }
}

/// A descriptor that refers to the process `pid` for good; None when there is none.
pub fn open_process(pid: u32) -> io::Result<Option<OwnedFd>> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::time::Duration;

    /// A program that says its process id; the accompanied process; and a pipe that ends with whoever holds it.
    fn start() -> (OwnedFd, u32, std::process::Child, std::io::PipeReader) {
        let accompanied = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open_process(accompanied.id()).unwrap().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let texts = |list: &[&str]| list.iter().map(|t| CString::new(*t).unwrap()).collect::<Vec<_>>();
        Companion {
            program: c"/bin/sh",
            arguments: &texts(&["sh", "-c", "echo $$ $A; exec sleep 60"]),
            environment: &texts(&["A=b", "PATH=/usr/bin:/bin"]),
            accompanied: pidfd.as_fd(),
            output: writer.as_fd(),
            input: null.as_fd(),
        }
        .start()
        .unwrap();
        drop(writer);
        let mut line = Vec::new();
        let mut byte = [0];
        while reader.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        let line = String::from_utf8(line).unwrap();
        let pid: u32 = line.strip_suffix(" b").unwrap().parse().unwrap();
        (open_process(pid).unwrap().unwrap(), pid, accompanied, reader)
    }

    #[test]
    fn it_dies_with_the_process_it_accompanies() {
        let (program, _, mut accompanied, mut reader) = start();
        accompanied.kill().unwrap();
        accompanied.wait().unwrap();
        assert!(crate::process::wait_ended(&program, Some(Duration::from_secs(5))).unwrap());
        // Nobody holds the pipe any more: neither the program nor its watcher.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        std::io::stdout().flush().unwrap();
    }

    #[test]
    fn a_process_ends_with_a_life_that_can_be_given_away() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open_process(sleeper.id()).unwrap().unwrap();
        let (life, holder) = std::io::pipe().unwrap();
        end_with(life.as_fd(), pidfd.as_fd()).unwrap();
        drop(life);
        let second_holder = holder.try_clone().unwrap();
        drop(holder);
        assert!(!crate::process::wait_ended(&pidfd, Some(Duration::from_millis(50))).unwrap());
        drop(second_holder);
        assert!(crate::process::wait_ended(&pidfd, Some(Duration::from_secs(5))).unwrap());
        sleeper.wait().unwrap();
    }

    #[test]
    fn it_dies_with_its_watcher() {
        let (program, pid, mut accompanied, mut reader) = start();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let parent = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap();
        let watcher = open_process(parent.parse().unwrap()).unwrap().unwrap();
        rustix::process::pidfd_send_signal(&watcher, Signal::KILL).unwrap();
        assert!(crate::process::wait_ended(&program, Some(Duration::from_secs(5))).unwrap());
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        accompanied.kill().unwrap();
        accompanied.wait().unwrap();
    }
}
