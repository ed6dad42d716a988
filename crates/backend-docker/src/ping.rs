//! The cheapest question to an engine, asked before anything else: who are you? The answer is in the headers. Podman takes
//! a third of a second to tell its version in any other way.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::EngineKind;
use crate::http::{self, Answer};

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// `Docker/20.10.24 (linux)`, `Libpod/4.3.1 (linux)`.
    pub(crate) server: String,
    pub(crate) api: String,
}

impl Greeting {
    /// Whose it is.
    pub(crate) fn kind(&self) -> EngineKind {
        match self.server.starts_with("Libpod/") {
            true => EngineKind::Podman,
            false => EngineKind::Docker,
        }
    }
}

/// Asks over `stream`; `None` where the answer is none of an engine.
pub(crate) async fn ping(stream: &mut UnixStream) -> io::Result<Option<Greeting>> {
    Ok(http::get(stream, "/_ping").await?.as_ref().and_then(greeting))
}

fn greeting(answer: &Answer) -> Option<Greeting> {
    let header = |name| answer.header(name).map(str::to_owned);
    match answer.status {
        200 => Some(Greeting { server: header("server").unwrap_or_default(), api: header("api-version")? }),
        _ => None,
    }
}

/// Who listens on a socket, and since when: facts that were learnt hold for as long as this is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listener {
    path: String,
    inode: u64,
    changed: i64,
    pid: Option<i32>,
    started: Option<u64>,
    greeting: Greeting,
}

impl Listener {
    /// Of the socket at `path`, at the other end of `stream`.
    pub(crate) fn of(path: &Path, stream: &UnixStream, greeting: Greeting) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(path)?;
        let pid = stream.peer_cred()?.pid();
        let process = pid.and_then(|pid| u32::try_from(pid).ok());
        let started = process.and_then(|pid| agentkernel_sys::process::ProcessIdentity::of(pid).ok());
        Ok(Self {
            path: path.display().to_string(),
            inode: meta.ino(),
            changed: meta.ctime(),
            pid,
            started: started.map(|identity| identity.start_ticks),
            greeting,
        })
    }

    /// The hard limit `name` of the process that listens, as /proc/PID/limits has it (proc_pid_limits(5)).
    pub(crate) fn limit(&self, name: &str) -> Option<u64> {
        let pid = self.pid.filter(|pid| *pid > 0)?;
        hard_limit(&std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?, name)
    }
}

fn hard_limit(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_told_apart_by_their_headers() {
        let kind = |server: &str| Greeting { server: server.to_owned(), api: "1.41".to_owned() }.kind();
        assert_eq!(kind("Docker/20.10.24 (linux)"), EngineKind::Docker);
        assert_eq!(kind("Libpod/4.3.1 (linux)"), EngineKind::Podman);
    }

    #[test]
    fn limits_of_a_process_are_read() {
        let text = "Limit    Soft Limit  Hard Limit  Units\nMax processes  10  20  processes\nMax open files  5 unlimited files\n";
        assert_eq!(hard_limit(text, "Max processes"), Some(20));
        assert_eq!(hard_limit(text, "Max open files"), None);
    }
}
