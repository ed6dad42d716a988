//! The user's mounts: each is served to the machine by a jailed process of its own (`agentkernel-folder-share`), which the
//! agent reaches over vsock. Such a process lives as long as the machine has its stream to it open, which is as long as the
//! machine: nothing has to be noted of it, and nobody has to end it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use agentkernel_backend::{BackendError, check_mount_target};
use agentkernel_folder_share::{Share, ShareProgram, ShareSpec, TOKEN_BYTES};
use agentkernel_model::{Access, Mount};
use agentkernel_protocol::machine::LiveMount;
use rustix::fs::{AtFlags, Gid, Uid};

use crate::socket;
use crate::vmm::{Owner, Process};
use crate::vsock::SOCKET;

/// The vsock port of the host for the first mount; the others follow.
const FIRST_PORT: u32 = 2048;

/// What of a machine's mounts is held until its agent has them all. Dropped before that, they end.
#[derive(Debug, Default)]
pub(crate) struct LiveMounts {
    processes: Vec<Process>,
    /// As long as these are held, the processes wait for the agent.
    waits: Vec<io::PipeWriter>,
    told: Vec<LiveMount>,
}

/// Refuses mounts that can't be made, before anything is.
pub(crate) fn check(mounts: &[Mount]) -> Result<(), BackendError> {
    mounts.iter().try_for_each(|mount| {
        check_mount_target(&mount.target, &[])?;
        check_source(&mount.source)
    })
}

fn check_source(source: &Path) -> Result<(), BackendError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => BackendError::NotFound { what: source.display().to_string() },
        _ => BackendError::runtime(format!("mount {}", source.display()), error),
    };
    let kind = std::fs::metadata(source).map_err(failed)?.file_type();
    if kind.is_dir() || kind.is_file() {
        return Ok(());
    }
    Err(BackendError::Invalid {
        what: format!("{} can't be mounted: it is neither a folder nor a regular file", source.display()),
    })
}

impl LiveMounts {
    /// Starts a process for each of `mounts`, which waits for the agent behind the VMM that works in `folder` as `owner`. Must
    /// be called within a tokio runtime.
    pub(crate) fn open(
        program: &ShareProgram,
        folder: &OwnedFd,
        owner: Option<Owner>,
        mounts: &[Mount],
    ) -> Result<Self, BackendError> {
        let mut this = Self::default();
        for (port, mount) in (FIRST_PORT..).zip(mounts) {
            let token: [u8; TOKEN_BYTES] = crate::start::random()?;
            let read_only = mount.access == Access::ReadOnly;
            let failed = |source| BackendError::runtime(format!("mount {}", mount.source.display()), source);
            let listener = listen(folder, port, owner).map_err(failed)?;
            let source = mount.source.clone();
            let spec = ShareSpec { source, read_only, listener: listener.as_fd(), token };
            let share = Share::start(program, &spec).map_err(|source| {
                BackendError::runtime(format!("mount {}", mount.source.display()), source)
            })?;
            let is_file = !share.is_folder;
            this.waits.push(share.waits);
            this.processes.push(Process::of_child("share", share.child).map_err(failed)?);
            this.told.push(LiveMount {
                port,
                path: mount.target.as_path().as_os_str().as_bytes().to_vec().into(),
                read_only,
                token: token.into(),
                is_file,
            });
        }
        Ok(this)
    }

    /// What the agent is told.
    pub(crate) fn told(&self) -> Vec<LiveMount> {
        self.told.clone()
    }

    /// The agent has them all: from here on they live as long as the machine does.
    pub(crate) fn keep(mut self) {
        self.processes.drain(..).for_each(Process::leave);
    }
}

impl Drop for LiveMounts {
    fn drop(&mut self) {
        self.waits.clear();
        for process in self.processes.drain(..) {
            if let Err(error) = process.end() {
                tracing::warn!(%error, "a process that serves a folder could not be ended");
            }
        }
    }
}

/// Where the VMM goes with the guest's connection to `port`.
fn listen(folder: &OwnedFd, port: u32, owner: Option<Owner>) -> io::Result<UnixListener> {
    let name = format!("{SOCKET}_{port}");
    let listener = socket::listen(folder, &name)?.into_std()?;
    if let Some(Owner { user, group }) = owner {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        rustix::fs::chownat(folder, &name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use agentkernel_model::BoxPath;

    use super::*;

    fn mount(source: &Path, target: &str) -> Mount {
        let target = BoxPath::new(target).unwrap();
        Mount { source: source.to_owned(), target, access: Access::ReadWrite }
    }

    #[test]
    fn what_can_not_be_mounted_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for bad in ["/", "/proc", "/proc/self", "/dev/null", "/etc/passwd", "/sys"] {
            assert!(check(&[mount(folder.path(), bad)]).unwrap_err().to_string().contains(bad), "{bad}");
        }
        for good in ["/workspace", "/development", "/tmp/x"] {
            check(&[mount(folder.path(), good)]).unwrap();
        }
        let error = check(&[mount(&folder.path().join("nope"), "/data")]).unwrap_err();
        assert!(matches!(error, BackendError::NotFound { .. }), "{error}");
        let error = check(&[mount(Path::new("/dev/null"), "/data")]).unwrap_err();
        assert!(error.to_string().contains("/dev/null"), "{error}");
    }

    #[tokio::test]
    async fn one_that_can_not_be_served_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = socket::open_folder(folder.path()).unwrap();
        let missing = ShareProgram { path: folder.path().join("none"), arguments: Vec::new() };
        let error = LiveMounts::open(&missing, &at, None, &[mount(folder.path(), "/data")]).unwrap_err();
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    }
}
