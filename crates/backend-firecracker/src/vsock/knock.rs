//! The agent's knock: the first sign of life of a machine that has booted, so that nobody has to ask again and again.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::UnixListener;

use super::line::{self, Line};
use super::{KNOCK_PORT, SOCKET, VsockError};
use crate::socket;

/// What the agent says, before its version.
const GREETING: &[u8] = b"agentkernel-agent ";
/// The longest knock, newline included.
const LONGEST_KNOCK: usize = 128;

/// A knock that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knock {
    /// The agent's version as it says: printable and bounded, and no proof of anything.
    pub version: String,
}

/// Waits for one knock. Its socket is gone once it is heard, or dropped: whoever knocks again finds nobody.
#[derive(Debug)]
pub struct KnockListener {
    listener: UnixListener,
    folder: OwnedFd,
}

impl KnockListener {
    fn name() -> String {
        format!("{SOCKET}_{KNOCK_PORT}")
    }

    /// Listens in the folder that the VMM will work in; before that is started, or a quick agent finds nobody. Where the
    /// VMM is another user, that user gets the socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`VsockError::Listen`].
    pub fn open(folder: &OwnedFd, owner: Option<(u32, u32)>) -> Result<Self, VsockError> {
        let failed = |source: std::io::Error| VsockError::Listen { port: KNOCK_PORT, source };
        let kept = folder.try_clone().map_err(failed)?;
        let this = Self { listener: socket::listen(folder, Self::name()).map_err(failed)?, folder: kept };
        if let Some((user, group)) = owner {
            let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&this.folder, Self::name(), Some(user), Some(group), flags)
                .map_err(|errno| failed(errno.into()))?;
        }
        Ok(this)
    }

    /// The first knock. What knocks first and says something else is not our agent, and no other will come.
    ///
    /// # Errors
    /// [`VsockError::Broken`] for that, [`VsockError::TooSlow`] when `limit` passes first.
    pub async fn heard(self, limit: Duration) -> Result<Knock, VsockError> {
        match tokio::time::timeout(limit, self.hear()).await {
            Ok(done) => done,
            Err(_) => Err(VsockError::TooSlow { port: KNOCK_PORT, limit }),
        }
    }

    async fn hear(&self) -> Result<Knock, VsockError> {
        let failed = |source| VsockError::Listen { port: KNOCK_PORT, source };
        let broken = |what: String| VsockError::Broken { port: KNOCK_PORT, what };
        let (mut stream, _) = self.listener.accept().await.map_err(failed)?;
        match line::read(&mut stream, LONGEST_KNOCK).await.map_err(failed)? {
            Line::Whole(text) => understand(&text).ok_or_else(|| broken(line::quoted(&text))),
            Line::Cut(text) => Err(broken(line::quoted(&text))),
            Line::TooLong => Err(broken(format!("more than {LONGEST_KNOCK} bytes without an end"))),
        }
    }
}

fn understand(text: &[u8]) -> Option<Knock> {
    let version = text.strip_prefix(GREETING)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-+".contains(byte);
    let version = std::str::from_utf8(version).ok().filter(|text| text.bytes().all(|byte| plain(&byte)))?;
    (!version.is_empty()).then(|| Knock { version: version.to_owned() })
}

impl Drop for KnockListener {
    fn drop(&mut self) {
        if let Err(error) = socket::remove(&self.folder, Self::name()) {
            tracing::debug!(%error, "a socket was left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn against(said: &[u8]) -> Result<Knock, VsockError> {
        let folder = tempfile::tempdir().unwrap();
        let at = socket::open_folder(folder.path()).unwrap();
        let listener = KnockListener::open(&at, None).unwrap();
        let mut agent = socket::connect(&at, "v.sock_1025").await.unwrap();
        agent.write_all(said).await.unwrap();
        drop(agent);
        let heard = listener.heard(Duration::from_secs(5)).await;
        assert!(!folder.path().join("v.sock_1025").exists(), "no second knock is waited for");
        heard
    }

    #[tokio::test]
    async fn the_agent_is_known_by_its_words() {
        assert_eq!(against(b"agentkernel-agent 0.1.0-dev\n").await.unwrap().version, "0.1.0-dev");
        assert!(against(b"agentkernel-agent 0.1.0\nmore").await.is_ok());
        for wrong in [
            &b""[..],
            b"agentkernel-agent 0.1.0",
            b"agentkernel-agent \n",
            b"agentkernel-agent 0\x1b[2J\n",
            b"ssh-2.0\n",
            &[b'a'; 4096],
        ] {
            let error = against(wrong).await.unwrap_err();
            assert!(matches!(error, VsockError::Broken { port: 1025, .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn silence_ends_with_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let at = socket::open_folder(folder.path()).unwrap();
        let listener = KnockListener::open(&at, None).unwrap();
        let silent = socket::connect(&at, "v.sock_1025").await.unwrap();
        let error = listener.heard(Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, VsockError::TooSlow { port: 1025, .. }), "{error}");
        drop(silent);
    }

    proptest! {
        #[test]
        fn a_version_is_printable(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(knock) = understand(&[GREETING, &text].concat()) {
                prop_assert!(knock.version.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
