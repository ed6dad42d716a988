//! Unix sockets in a folder whose path may have any length: by way of its descriptor, since a socket's own path has at most
//! 107 bytes (unix(7)).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// The folder itself, not what a link leads to.
pub(crate) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn short(folder: &OwnedFd, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name)
}

/// Connects to `name` in `folder`.
pub(crate) async fn connect(folder: &OwnedFd, name: impl AsRef<OsStr>) -> io::Result<UnixStream> {
    UnixStream::connect(short(folder, name.as_ref())).await
}

/// Listens at `name` in `folder`; an error where something is there. Must be called within a tokio runtime.
pub(crate) fn listen(folder: &OwnedFd, name: impl AsRef<OsStr>) -> io::Result<UnixListener> {
    UnixListener::bind(short(folder, name.as_ref()))
}

/// Removes `name` from `folder`; fine if it is gone.
pub(crate) fn remove(folder: &OwnedFd, name: impl AsRef<OsStr>) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name.as_ref(), rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
