//! Folders of the host that the box sees as they are: the kernel's questions about them (FUSE) go to the host, and its answers
//! to the kernel. Nothing of either is understood here but its length.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use agentkernel_protocol::machine::LiveMount;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::live_mount_pump::Pump;
use super::mount::{PLAIN, at};
use super::{given, listener};
use crate::raw::{HOST, VsockAddress};

/// How long the host may take to let the agent in: emulated machines on a busy computer are slow.
const LONGEST_CONNECT: i64 = 60;

/// Mounts all of them below `root`, in their order.
pub(super) fn make(root: &OwnedFd, mounts: &[LiveMount]) -> Result<(), String> {
    mounts.iter().try_for_each(|mount| {
        let path = Path::new(OsStr::from_bytes(&mount.path));
        make_one(root, mount, path).map_err(|why| format!("{} can't be mounted: {why}", path.display()))
    })
}

fn make_one(root: &OwnedFd, mount: &LiveMount, path: &Path) -> Result<(), String> {
    let target = given::place(root, path, mount.is_file)?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let kernel = rustix::fs::openat(CWD, "/dev/fuse", flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => "the machine's kernel lacks FUSE".to_owned(),
        other => at("open /dev/fuse")(other),
    })?;
    let host = connect(mount).map_err(at("reach the host"))?;
    let access = if mount.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    let options = CString::new(options(&kernel, mount.is_file)).map_err(|error| error.to_string())?;
    // By its descriptor: what a link of the image might lead elsewhere by now is no part of the way.
    let target = format!("/proc/self/fd/{}", target.as_raw_fd());
    rustix::mount::mount(c"host", target.as_str(), c"fuse", PLAIN | access, options.as_c_str())
        .map_err(at("mount fuse"))?;
    Pump::start(kernel, host).map_err(|error| format!("start a thread: {error}"))
}

/// The box's other users may use it too, as far as modes and owners let them (fuse.rst).
fn options(kernel: &OwnedFd, is_file: bool) -> String {
    let kind = if is_file { "100000" } else { "40000" };
    format!("fd={},rootmode={kind},user_id=0,group_id=0,allow_other,default_permissions", kernel.as_raw_fd())
}

/// The stream on which it is served: nobody else in the machine knows the token, and nobody else is here yet.
fn connect(mount: &LiveMount) -> Result<OwnedFd, Errno> {
    let socket =
        listener::vsock().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AFNOSUPPORT))?;
    crate::raw::wait_longer_to_connect(&socket, LONGEST_CONNECT)?;
    match rustix::net::connect(&socket, &VsockAddress::new(HOST, mount.port)) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    let limit = Timespec { tv_sec: LONGEST_CONNECT, tv_nsec: 0 };
    let mut fds = [PollFd::new(&socket, PollFlags::OUT)];
    if rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&limit)))? == 0 {
        return Err(Errno::TIMEDOUT);
    }
    rustix::net::sockopt::socket_error(&socket)??;
    // A new stream takes as much as this at once.
    match rustix::io::write(&socket, &mount.token[..])? {
        length if length == mount.token.len() => Ok(socket),
        _ => Err(Errno::PIPE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_mounted_as_one() {
        let kernel = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let number = kernel.as_raw_fd();
        let rest = "user_id=0,group_id=0,allow_other,default_permissions";
        assert_eq!(options(&kernel, false), format!("fd={number},rootmode=40000,{rest}"));
        assert_eq!(options(&kernel, true), format!("fd={number},rootmode=100000,{rest}"));
    }
}
