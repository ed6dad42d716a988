//! Our side of the door: a listening socket in a folder that the box sees read-only, to which its agent connects.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agentkernel_store::random_id;
use tokio::net::{UnixListener, UnixStream};

use crate::folder::Folder;

/// A socket that the agent is going to find. Removed on drop.
#[derive(Debug)]
pub(crate) struct Waiting {
    listener: UnixListener,
    path: PathBuf,
}

/// The agent, and the process that it is here.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) stream: UnixStream,
    pub(crate) pid: Option<u32>,
}

impl Waiting {
    /// Puts a socket before the door of `folder`.
    pub(crate) fn open(folder: &Folder) -> io::Result<Self> {
        let name = random_id()?;
        let fresh = folder.path().join(format!("{name}.new"));
        // By way of the folder's descriptor: a socket's path has at most 107 bytes (unix(7)).
        let at = OwnedFd::from(std::fs::File::open(folder.path())?);
        let short = Path::new("/proc/self/fd").join(at.as_raw_fd().to_string()).join(format!("{name}.new"));
        let listener = UnixListener::bind(short)?;
        let path = folder.door().join(name);
        let placed = std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o666))
            // The agent sees it only once it can be connected to.
            .and_then(|()| std::fs::rename(&fresh, &path));
        if let Err(error) = placed {
            // The error is what matters; the socket lies in a folder that is removed with the box.
            std::fs::remove_file(&fresh).ok();
            return Err(error);
        }
        Ok(Self { listener, path })
    }

    /// Waits for the agent. Where it is known which process that is, anybody else of the box is turned away.
    pub(crate) async fn accept(&self, agent: Option<u32>) -> io::Result<Met> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let pid =
                stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
            match agent {
                Some(agent) if pid != Some(agent) => {
                    tracing::warn!(?pid, agent, "a process of a sandbox wanted to be taken for its agent");
                }
                _ => return Ok(Met { stream, pid }),
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, path = %self.path.display(), "a socket was left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn only_the_agents_process_is_let_in() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path().join("box"));
        folder.make().unwrap();
        let waiting = Waiting::open(&folder).unwrap();
        let socket = std::fs::read_dir(folder.door()).unwrap().next().unwrap().unwrap().path();
        let own = std::process::id();
        let _client = UnixStream::connect(&socket).await.unwrap();
        assert_eq!(waiting.accept(Some(own)).await.unwrap().pid, Some(own));
        let _other = UnixStream::connect(&socket).await.unwrap();
        let turned_away =
            tokio::time::timeout(Duration::from_millis(50), waiting.accept(Some(own + 1))).await;
        assert!(turned_away.is_err());
        drop(waiting);
        assert_eq!(std::fs::read_dir(folder.door()).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the door");
    }
}
