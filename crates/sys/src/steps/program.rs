//! Steps, then exec; and what is said of a failure.

use std::convert::Infallible;
use std::ffi::{CString, c_char};
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;

use super::Step;
use super::maker::Maker;
use super::perform::{FAILED, exit};
use super::step::SLOTS;
use crate::descriptor_table::close_all_but;
use crate::mount;
use crate::process::{Child, Namespaces, clone_into};

/// Standard streams stay until [`Step::Descriptors`] replaces them.
const FIRST_NOT_STANDARD: RawFd = 3;

/// A whole program: steps, then exec.
pub struct Program {
    steps: Vec<Step>,
    executable: RawFd,
    arguments: Vec<CString>,
    failure_pipe: RawFd,
    trace: Option<Trace>,
    maker: Option<u32>,
}

/// A pipe that the child tells its progress to: 8 bytes a step, its index and how many nanoseconds it took.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    /// Its number before [`Step::Descriptors`].
    pub early: RawFd,
    /// Its number afterwards; closed by exec.
    pub late: RawFd,
}

/// What the child reports when a step fails: 8 bytes on the failure pipe, which closes by itself on success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The index of the step; the number of steps stands for exec itself.
    pub step: usize,
    /// The reason.
    pub errno: Errno,
}

impl Failure {
    /// Size on the pipe.
    pub const BYTES: usize = 8;

    fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&u32::try_from(self.step).unwrap_or(u32::MAX).to_ne_bytes());
        bytes[4..].copy_from_slice(&self.errno.raw_os_error().to_ne_bytes());
        bytes
    }

    /// What was read from the pipe; `None` where nothing was (success) or the child died while it wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let step = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        let errno = i32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?);
        Some(Self { step: step as usize, errno: Errno::from_raw_os_error(errno) })
    }
}

impl Program {
    /// `executable` and `failure_pipe` are numbers *after* [`Step::Descriptors`]; both must be closed by exec.
    pub fn new(steps: Vec<Step>, executable: RawFd, arguments: Vec<CString>, failure_pipe: RawFd) -> Self {
        Self { steps, executable, arguments, failure_pipe, trace: None, maker: None }
    }

    /// The same, timing each step.
    pub fn with_trace(mut self, trace: Option<Trace>) -> Self {
        self.trace = trace;
        self
    }

    /// The same, made under the name of the host's user `maker`, who bears what the kernel counts per user (see
    /// [`super`]'s module `maker`). Only root can.
    pub fn made_by(mut self, maker: Option<u32>) -> Self {
        self.maker = maker;
        self
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What the child needs of its parent, in ascending order.
    fn kept(&self, early_failure_pipe: RawFd) -> Vec<RawFd> {
        let places = self.steps.iter().any(|step| matches!(step, Step::Descriptors(_)));
        let executable = (!places).then_some(self.executable);
        let trace = self.trace.map(|trace| trace.early);
        let mut kept: Vec<RawFd> = self.steps.iter().flat_map(Step::of_parent).collect();
        kept.extend([Some(early_failure_pipe), executable, trace].into_iter().flatten());
        kept.sort_unstable();
        kept
    }

    /// Starts it as the first process of new namespaces, born in the cgroup v2 folder `cgroup` where one is given.
    /// `early_failure_pipe` is the failure pipe's number before [`Step::Descriptors`].
    ///
    /// The first thing it does is to close all that it has of this process and doesn't need. Others wait for the end of
    /// that: whoever takes the port of a server that was killed, and other first processes for their parent's end.
    pub fn spawn(
        &self,
        namespaces: Namespaces,
        cgroup: Option<BorrowedFd<'_>>,
        early_failure_pipe: RawFd,
    ) -> std::io::Result<Child> {
        let arguments: Vec<*const c_char> =
            self.arguments.iter().map(|argument| argument.as_ptr()).chain([std::ptr::null()]).collect();
        let kept = self.kept(early_failure_pipe);
        let maker = self.maker.map(Maker::begin).transpose()?.flatten();
        // SAFETY: `run` makes raw system calls on what was prepared here; it allocates nothing and takes no lock.
        #[expect(unsafe_code, reason = "the one caller that keeps clone_into's contract")]
        let child = unsafe {
            clone_into(namespaces, cgroup, &mut || self.run(early_failure_pipe, &kept, &arguments))
        };
        let ended = maker.map_or(Ok(()), Maker::end);
        match (child, ended) {
            (Ok(child), Err(error)) => {
                child.kill()?;
                child.reap()?;
                Err(error)
            }
            (child, _) => child,
        }
    }

    fn run(&self, early_failure_pipe: RawFd, kept: &[RawFd], arguments: &[*const c_char]) -> Infallible {
        if let Err(errno) = close_all_but(FIRST_NOT_STANDARD, kept) {
            fail(early_failure_pipe, Failure { step: self.steps.len(), errno });
        }
        let mut slots = [const { None }; SLOTS];
        let mut failure_pipe = early_failure_pipe;
        let mut trace = self.trace.map(|trace| trace.early);
        for (index, step) in self.steps.iter().enumerate() {
            let started = trace.map(|_| now_nanos());
            if let Err(errno) = step.perform(&mut slots) {
                fail(failure_pipe, Failure { step: index, errno });
            }
            if matches!(step, Step::Descriptors(_)) {
                failure_pipe = self.failure_pipe;
                trace = self.trace.map(|trace| trace.late);
            }
            if let (Some(pipe), Some(started)) = (trace, started) {
                tell(pipe, index, now_nanos().wrapping_sub(started));
            }
        }
        let errno = exec(self.executable, arguments);
        fail(failure_pipe, Failure { step: self.steps.len(), errno })
    }
}

fn now_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// What was read from a [`Trace`]'s pipe: indexes and durations.
pub fn decode_trace(bytes: &[u8]) -> impl Iterator<Item = (usize, std::time::Duration)> {
    bytes.chunks_exact(8).filter_map(|record| {
        let index = u32::from_ne_bytes(record.get(..4)?.try_into().ok()?);
        let nanos = u32::from_ne_bytes(record.get(4..)?.try_into().ok()?);
        Some((index as usize, std::time::Duration::from_nanos(nanos.into())))
    })
}

#[expect(unsafe_code, reason = "raw descriptors between clone and exec")]
fn tell(pipe: RawFd, index: usize, nanos: u64) {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&u32::try_from(index).unwrap_or(u32::MAX).to_ne_bytes());
    bytes[4..].copy_from_slice(&u32::try_from(nanos).unwrap_or(u32::MAX).to_ne_bytes());
    // SAFETY: writes 8 bytes from a live array. A number that is lost is a row less in a table.
    unsafe { libc::write(pipe, bytes.as_ptr().cast(), bytes.len()) };
}

#[expect(unsafe_code, reason = "raw descriptors between clone and exec")]
fn fail(pipe: RawFd, failure: Failure) -> ! {
    let bytes = failure.encode();
    // SAFETY: writes 8 bytes from a live array; a failed write leaves the parent with end-of-file, which it treats as a
    // failure too, because the box never answers.
    unsafe { libc::write(pipe, bytes.as_ptr().cast(), bytes.len()) };
    exit(FAILED)
}

/// Tries to execute a file that is open for writing somewhere: a box that another thread clones while the file is being
/// installed holds a copy of its descriptor for some milliseconds, until that box closes what it doesn't need.
const BUSY_TRIES: usize = 20_000;

#[expect(unsafe_code, reason = "execveat has no wrapper that takes prepared pointers")]
fn exec(executable: RawFd, arguments: &[*const c_char]) -> Errno {
    let environment = [std::ptr::null::<c_char>()];
    let mut errno = Errno::TXTBSY;
    for _ in 0..BUSY_TRIES {
        // SAFETY: the path is an empty C string; both arrays end with a null pointer and outlive the call.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                executable,
                c"".as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
        }
        errno = mount::last_errno();
        if errno != Errno::TXTBSY {
            break;
        }
        rustix::thread::sched_yield();
    }
    errno
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_pipe() {
        let failure = Failure { step: 17, errno: Errno::PERM };
        assert_eq!(Failure::decode(&failure.encode()), Some(failure));
        assert_eq!(Failure::decode(&[]), None);
        assert_eq!(Failure::decode(&[1, 2, 3]), None);
    }

    #[test]
    fn a_child_that_waits_holds_nothing_of_its_parent() {
        use std::io::Write as _;
        use std::os::fd::{AsRawFd as _, OwnedFd};
        let (wait, mut go) = std::io::pipe().unwrap();
        let (_failures, report) = std::io::pipe().unwrap();
        // Stands for a server's listener: taken until nobody holds it.
        let (end, other) = std::io::pipe().unwrap();
        let end = OwnedFd::from(end);
        let program = Program::new(
            vec![Step::AwaitGo(wait.as_raw_fd()), Step::Finish],
            -1,
            Vec::new(),
            report.as_raw_fd(),
        );
        let child = program.spawn(Namespaces::NONE, None, report.as_raw_fd()).unwrap();
        drop(other);
        let mut ended = [rustix::event::PollFd::new(&end, rustix::event::PollFlags::IN)];
        let soon = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        let told = rustix::event::poll(&mut ended, Some(&soon)).unwrap();
        // The other end of what it waits for is not held by itself, either.
        drop(wait);
        go.write_all(b"g").unwrap();
        child.reap().unwrap();
        assert_eq!(told, 1, "the child holds a copy of the pipe while it waits");
        assert!(go.write_all(b"g").is_err(), "nobody reads any more");
    }

    #[test]
    fn a_trace_is_read_as_far_as_it_is_whole() {
        let mut bytes = Vec::new();
        for (index, nanos) in [(0u32, 5u32), (1, 7)] {
            bytes.extend(index.to_ne_bytes());
            bytes.extend(nanos.to_ne_bytes());
        }
        bytes.push(1);
        let read: Vec<_> = decode_trace(&bytes).map(|(index, cost)| (index, cost.as_nanos())).collect();
        assert_eq!(read, [(0, 5), (1, 7)]);
    }
}
