//! The first process of a box and the limits that stand around it, made by this process or given to it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use agentkernel_sys::cgroup::Cgroup;
use agentkernel_sys::process::{self, Child};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::machine::Machine;

/// A box's first process; with it goes its whole process namespace.
#[derive(Debug)]
pub(crate) enum Process {
    /// A child of this process, to be taken from the process table.
    Own(Child),
    /// Another's child, who does that.
    Given(OwnedFd),
}

impl Process {
    /// SIGKILL; fine if it has ended.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match self {
            Self::Own(child) => child.kill(),
            Self::Given(pidfd) => process::kill(pidfd),
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> io::Result<()> {
        match self {
            Self::Own(child) => child.reap(),
            Self::Given(pidfd) => process::wait_ended(pidfd, None).map(drop),
        }
    }
}

/// The control group of a box.
#[derive(Debug)]
pub(crate) enum Limits {
    /// As it was made; `None` where there are no limits.
    Held(Option<Cgroup>),
    /// By the box's id: it is opened when it has to go, since nobody needs it before.
    Named {
        /// Where groups are.
        machine: Arc<Machine>,
        /// The box's id.
        id: String,
    },
}

impl Limits {
    /// Removes it; its processes have ended.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        let cgroup = match self {
            Self::Held(cgroup) => cgroup.take(),
            Self::Named { machine, id } => machine.cgroups.open(id).map_err(io::Error::other)?,
        };
        cgroup.map_or(Ok(()), |cgroup| cgroup.remove().map_err(io::Error::other))
    }
}

/// Takes `child` from the process table once it has ended, as long as this process's runtime lives: whoever outlives a box
/// that it has made and owns no more. `then` follows, where it may block. Must be called within a tokio runtime.
pub(crate) fn reap_when_ended(child: Child, then: impl FnOnce() + Send + 'static) {
    let Child { pid, pidfd } = child;
    #[expect(
        deprecated,
        reason = "the descriptor is owned by the watch and closed with it, which is what its successor asks"
    )]
    let watched = AsyncFd::with_interest(pidfd, Interest::READABLE);
    let watched = match watched {
        Ok(watched) => watched,
        Err(error) => {
            tracing::warn!(%error, "the end of a box's first process can't be watched; it will stay as a zombie");
            return;
        }
    };
    tokio::spawn(async move {
        let ended = watched.readable().await.map(drop);
        let reaped = ended.and_then(|()| Child { pid, pidfd: watched.into_inner() }.reap());
        if let Err(error) = reaped {
            tracing::debug!(%error, "a box's first process could not be taken from the process table");
        }
        // Its end needs nobody who waits for it.
        drop(tokio::task::spawn_blocking(then));
    });
}
