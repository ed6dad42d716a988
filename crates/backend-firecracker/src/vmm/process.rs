//! A process of a machine: a child of this process, or one found again.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use agentkernel_sys::process::{self, Child, ProcessIdentity};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ProcessNote;

/// A process, referred to for good.
#[derive(Debug)]
pub(crate) struct Process {
    pub(super) name: String,
    identity: ProcessIdentity,
    pidfd: OwnedFd,
    /// Whether this process has started it.
    is_child: bool,
}

impl Process {
    /// A new child, which has not ended.
    pub(crate) fn of_child(name: &str, child: Child) -> io::Result<Self> {
        let identity = match ProcessIdentity::of(child.pid.as_raw_nonzero().get().unsigned_abs()) {
            Ok(identity) => identity,
            Err(error) => {
                child.kill()?;
                child.reap()?;
                return Err(error);
            }
        };
        Ok(Self { name: name.to_owned(), identity, pidfd: child.pidfd, is_child: true })
    }

    /// The one of a record, if it lives.
    pub(super) fn find(name: &str, note: &ProcessNote) -> io::Result<Option<Self>> {
        let identity = ProcessIdentity::from(note);
        let found = identity.open()?;
        Ok(found.map(|pidfd| Self { name: name.to_owned(), identity, pidfd, is_child: false }))
    }

    pub(super) fn note(&self) -> ProcessNote {
        (&self.identity).into()
    }

    pub(super) fn pid(&self) -> u32 {
        self.identity.pid
    }

    pub(super) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Whether it has not ended yet: the descriptor of one that has is readable (pidfd_open(2)).
    pub(super) fn lives(&self) -> bool {
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&self) -> io::Result<()> {
        watch(self.pidfd.try_clone()?)?.readable().await.map(drop)
    }

    /// SIGKILL, waits for the end, and takes it from the process table.
    pub(crate) fn end(&self) -> io::Result<()> {
        process::kill_and_wait(&self.pidfd)?;
        self.reap()
    }

    /// Of one that has ended: takes it from the process table where it is a child of this process, found again or not.
    fn reap(&self) -> io::Result<()> {
        let ended = WaitId::PidFd(self.pidfd.as_fd());
        match rustix::io::retry_on_intr(|| rustix::process::waitid(ended.clone(), WaitIdOptions::EXITED)) {
            Ok(_) | Err(Errno::CHILD) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Lets it live on. Once it ends it is taken from the process table, as long as this process's runtime lives.
    pub(crate) fn leave(self) {
        if !self.is_child {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let ended = self.ended().await;
            if let Err(error) = ended.and_then(|()| self.reap()) {
                tracing::debug!(%error, name = self.name, "a process could not be taken from the process table");
            }
        });
    }
}

#[expect(deprecated, reason = "the descriptor is owned by the watch, which is what its successor asks")]
fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}
