//! The few system calls that have no safe wrapper elsewhere. The only unsafe code of the agent.
#![expect(
    unsafe_code,
    reason = "fork, exec, signal dispositions and inherited descriptors have no safe interface"
)]

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SocketAddrAny};
use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The new process. It must end by [`exit_now`] or an exec, never by returning into the event loop.
    Child,
    /// The process that was there before.
    Parent(Pid),
}

/// Copies this process. The child holds copies of all descriptors, the event loop's among them: it must close them
/// before anything else ([`close_all_but`]).
pub(crate) fn fork() -> Result<Fork, Errno> {
    // SAFETY: the agent has one thread, beside those of live mounts, which take no lock and use no allocator. So no lock can
    // be held by a thread that the child lacks, and the child may go on to use the allocator.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid).map(Fork::Parent).ok_or(Errno::CHILD),
    }
}

fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Ends this process without running anything else.
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Writes a line to standard error, if there is one.
pub(crate) fn complain(line: &str) {
    let text = format!("{line}\n");
    // SAFETY: the pointer and length are those of a live buffer. The result doesn't matter: there is nobody else to tell.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// Takes a descriptor that this process was started with.
pub(crate) fn inherited(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD touches no memory.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
        return Err(last_error());
    }
    // SAFETY: it is open, and nothing else in this process owns it: it is taken once, at the start.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)?;
    Ok(owned)
}

/// A descriptor in the event loop.
pub(crate) fn watched(fd: OwnedFd, interest: Interest) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd stays open and always gives the same number, and nobody gets it mutably to replace it: the
    // agent takes no `&mut AsyncFd`.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(std::io::Error::from)
}

/// Closes every descriptor that isn't in `keep`. For a forked child only: whatever owned them is never dropped there.
pub(crate) fn close_all_but(keep: &mut [RawFd]) {
    keep.sort_unstable();
    let mut first = 0;
    for &fd in keep.iter() {
        if fd > first {
            close_range(first, fd - 1);
        }
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: closing touches no memory, and the owners of the descriptors never run again in this process.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return;
    }
    // A kernel or a filter without close_range.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the result.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0;
    let most = if known { RawFd::try_from(limit.rlim_max).unwrap_or(1 << 20).min(1 << 20) } else { 1 << 20 };
    for fd in first..=last.min(most) {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

/// Blocks SIGCHLD and returns a descriptor that is readable when one is pending for the process that reads it.
pub(crate) fn child_signals() -> Result<OwnedFd, Errno> {
    // SAFETY: `set` is initialised by sigemptyset before it is used; the calls keep no pointer.
    let fd = unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd == -1 {
        return Err(last_error());
    }
    // SAFETY: signalfd has just made it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes what is pending on a descriptor of [`child_signals`].
pub(crate) fn take_child_signals(fd: &OwnedFd) {
    let mut buffer = [0; 4 * size_of::<libc::signalfd_siginfo>()];
    while rustix::io::read(fd, &mut buffer).is_ok_and(|length| length == buffer.len()) {}
}

/// Every signal as in a fresh process: default action, not blocked.
pub(crate) fn reset_signals() {
    // The kernel's own structure (rt_sigaction(2)): all zeroes are the default action. glibc's function refuses the two
    // signals that it keeps for itself, which whoever started the agent may have ignored.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: `default` is at least as large as the structure; the default action refers to no code of ours. The two
        // signals that can't be changed are refused.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null_mut::<u64>(), 8) };
    }
    // SAFETY: `set` is initialised before it is used.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, ptr::null_mut());
    }
}

/// Puts this process, and all it will start, under a filter of system calls for good: `program` is a list of struct
/// sock_filter (linux/filter.h).
pub(crate) fn install_filter(program: &[u8]) -> Result<(), Errno> {
    let instruction = |bytes: &[u8]| match *bytes {
        [code0, code1, jt, jf, k0, k1, k2, k3] => Ok(libc::sock_filter {
            code: u16::from_ne_bytes([code0, code1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        }),
        _ => Err(Errno::INVAL),
    };
    let mut filter = program.chunks(8).map(instruction).collect::<Result<Vec<_>, Errno>>()?;
    let length = u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
    let argument = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: `argument` points at `filter`, which has the stated length and outlives the call; the kernel copies it.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const argument) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Reads at most `limit` bytes and appends them to `out`.
pub(crate) fn read_onto(fd: &OwnedFd, out: &mut Vec<u8>, limit: usize) -> Result<usize, Errno> {
    out.reserve(limit);
    let room = out.spare_capacity_mut().get_mut(..limit).unwrap_or_default();
    let length = rustix::io::read(fd, room)?.0.len();
    // SAFETY: the kernel has written `length` bytes behind the old end, and not more than there was room for.
    unsafe { out.set_len(out.len() + length) };
    Ok(length)
}

/// Sends any signal, real-time ones too, to a process, or to a process group where `pid` is negative.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill touches no memory.
    if unsafe { libc::kill(pid, signal) } == -1 { Err(last_error()) } else { Ok(()) }
}

/// The host's number among vsock addresses (vsock(7)).
pub(crate) const HOST: u32 = libc::VMADDR_CID_HOST;

/// A vsock address.
pub(crate) struct VsockAddress(libc::sockaddr_vm);

impl VsockAddress {
    /// A port of one machine.
    pub(crate) fn new(machine: u32, port: u32) -> Self {
        // SAFETY: the structure holds numbers only, for which all zeroes are values.
        let mut address = unsafe { std::mem::zeroed::<libc::sockaddr_vm>() };
        // It is 40.
        address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
        address.svm_port = port;
        address.svm_cid = machine;
        Self(address)
    }

    /// A port of this machine, under whatever number that has.
    pub(crate) fn of_anybody(port: u32) -> Self {
        Self::new(libc::VMADDR_CID_ANY, port)
    }

    /// The same as the kernel gave it, if it is one.
    pub(crate) fn of(any: &SocketAddrAny) -> Option<Self> {
        let is_whole = any.addr_len() as usize >= size_of::<libc::sockaddr_vm>();
        if any.address_family() != AddressFamily::VSOCK || !is_whole {
            return None;
        }
        // SAFETY: that many bytes are initialised there, and the structure holds numbers only; it may lie anywhere.
        Some(Self(unsafe { any.as_ptr().cast::<libc::sockaddr_vm>().read_unaligned() }))
    }

    /// Whose it is.
    pub(crate) fn machine(&self) -> u32 {
        self.0.svm_cid
    }
}

// SAFETY: the pointer is that of a whole sockaddr_vm, which outlives the call of `f`.
unsafe impl SocketAddrArg for VsockAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f(ptr::from_ref(&self.0).cast(), size_of::<libc::sockaddr_vm>() as SocketAddrLen)
    }
}

/// How long a vsock stream may take to be connected; else it is two seconds (vsock(7), SO_VM_SOCKETS_CONNECT_TIMEOUT).
pub(crate) fn wait_longer_to_connect(socket: &OwnedFd, seconds: i64) -> Result<(), Errno> {
    // Of linux/vm_sockets.h, the one whose structure has this size.
    const CONNECT_TIMEOUT: libc::c_int = 6;
    let time = libc::timeval { tv_sec: seconds, tv_usec: 0 };
    // SAFETY: the kernel reads as many bytes as a timeval has, which are there.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::AF_VSOCK,
            CONNECT_TIMEOUT,
            (&raw const time).cast(),
            size_of::<libc::timeval>() as libc::socklen_t,
        )
    };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}

/// Stirs `bytes`, which nobody else knows, into the kernel's random generator, and has that take them up now (random(4)).
pub(crate) fn add_entropy(random: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    // RNDADDENTROPY and RNDRESEEDCRNG of linux/random.h.
    const ADD: libc::c_ulong = 0x4008_5203;
    const RESEED: libc::c_ulong = 0x5207;
    let length =
        i32::try_from(bytes.len()).ok().filter(|length| *length <= i32::MAX / 8).ok_or(Errno::INVAL)?;
    // struct rand_pool_info: bits, bytes, and what is to be stirred in.
    let message = [&(length * 8).to_ne_bytes()[..], &length.to_ne_bytes(), bytes].concat();
    // SAFETY: the kernel reads the two numbers and as many bytes as the second one says, which are there.
    if unsafe { libc::ioctl(random.as_raw_fd(), ADD as _, message.as_ptr()) } == -1 {
        return Err(last_error());
    }
    // SAFETY: without an argument.
    if unsafe { libc::ioctl(random.as_raw_fd(), RESEED as _, 0) } == -1 { Err(last_error()) } else { Ok(()) }
}

/// Makes this process's control group the root of all that it and its children see of them (cgroup_namespaces(7)).
pub(crate) fn own_cgroup_root() -> Result<(), Errno> {
    // SAFETY: touches no memory, and leaves files and descriptors as they are.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } == -1 { Err(last_error()) } else { Ok(()) }
}

/// A list of C strings with the pointers that exec wants, made before the fork.
pub(crate) struct PointerList {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl PointerList {
    /// The list of `strings`.
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Self { strings, pointers }
    }

    /// The strings.
    pub(crate) fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// The arguments of a script without an interpreter line: `/bin/sh`, the script's path, the rest; made before the fork,
/// the path put in after it.
pub(crate) struct ScriptList {
    pointers: Vec<*const libc::c_char>,
}

/// What runs scripts without an interpreter line, as execvp(3) has it.
const SHELL: &CStr = c"/bin/sh";

impl ScriptList {
    /// For the same arguments as `arguments`, which must outlive it.
    pub(crate) fn new(arguments: &PointerList) -> Self {
        let rest = arguments.pointers.iter().skip(1);
        Self { pointers: [SHELL.as_ptr(), ptr::null()].into_iter().chain(rest.copied()).collect() }
    }

    /// Becomes the shell that runs `script`.
    pub(crate) fn exec(&mut self, script: &CStr, environment: &PointerList) -> Result<Infallible, Errno> {
        if let Some(place) = self.pointers.get_mut(1) {
            *place = script.as_ptr();
        }
        // SAFETY: both lists end with a null pointer and all strings are alive: the arguments by the promise of `new`,
        // `script` and `environment` by their references.
        unsafe { libc::execve(SHELL.as_ptr(), self.pointers.as_ptr(), environment.pointers.as_ptr()) };
        Err(last_error())
    }
}

/// Becomes another program; returns only on failure. Allocates nothing.
pub(crate) fn exec(
    program: &CStr,
    arguments: &PointerList,
    environment: &PointerList,
) -> Result<Infallible, Errno> {
    // SAFETY: both lists end with a null pointer and own their strings.
    unsafe { libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    Err(last_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_descriptor_is_not_taken() {
        assert!(inherited(9999).is_err());
    }

    #[test]
    fn a_pointer_list_ends_with_null() {
        let list = PointerList::new(vec![c"a".to_owned(), c"b".to_owned()]);
        assert_eq!(list.pointers.len(), 3);
        assert!(list.pointers[2].is_null());
        let script = ScriptList::new(&list);
        assert_eq!(script.pointers.len(), 4);
    }

    #[test]
    fn bytes_are_appended_up_to_the_limit() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"abcdef").unwrap();
        let mut out = b"x".to_vec();
        assert_eq!(read_onto(&reader, &mut out, 4), Ok(4));
        assert_eq!(read_onto(&reader, &mut out, 100), Ok(2));
        drop(writer);
        assert_eq!(read_onto(&reader, &mut out, 100), Ok(0));
        assert_eq!(read_onto(&reader, &mut out, 0), Ok(0));
        assert_eq!(out, b"xabcdef");
    }

    #[test]
    fn a_vsock_address_survives_the_kernels_form() {
        let address = VsockAddress::of(&VsockAddress::new(HOST, 1024).as_any()).unwrap();
        assert_eq!((address.machine(), address.0.svm_port), (2, 1024));
        let other = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(VsockAddress::of(&other.as_any()).is_none());
    }

    #[test]
    fn entropy_is_for_the_random_generator_only() {
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert_eq!(add_entropy(&null.into(), &[1; 32]), Err(Errno::NOTTY));
    }

    #[test]
    fn half_an_instruction_is_no_filter() {
        assert_eq!(install_filter(&[0; 9]), Err(Errno::INVAL));
    }

    #[test]
    fn children_are_signalled() {
        let fd = child_signals().unwrap();
        assert!(fd.as_raw_fd() > 2);
        assert_eq!(kill(i32::MAX, 0), Err(Errno::SRCH));
    }
}
