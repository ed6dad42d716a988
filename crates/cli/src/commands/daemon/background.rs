//! A daemon in the background: this program again, in a session of its own. Whoever started it waits on a socket for its
//! word, not on a clock.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::start::Args;
use crate::application::Application;
use crate::output::{CliError, describe, print_text};
use crate::serving::{DaemonLock, log_path, open_log};

/// The daemon's word when all is well.
const READY: &str = "ready";
/// The same when another was there before it.
const ANOTHER: &str = "another";
/// How long it may take to clear away what dead processes left, and to open its door.
const PATIENCE: Duration = Duration::from_secs(180);
/// The longest word that is read.
const LONGEST_WORD: u64 = 8 << 10;

/// Starts it and waits until it is ready.
pub(super) async fn start(arguments: &Args, application: &Application) -> Result<u8, CliError> {
    let state_dir = application.state_dir()?;
    let holder =
        DaemonLock::holder(&state_dir).map_err(|source| CliError::io("look at the daemon's lock", source))?;
    if let Some(holder) = holder {
        return already(holder.pid);
    }
    // What can be wrong with the settings is told here, where somebody reads it.
    let config = application.named_config(arguments.config.clone());
    application.server_settings(config.as_deref(), Default::default())?;
    let log = log_path(&state_dir);
    let output = open_log(&log).map_err(|source| CliError::io(format!("open {}", log.display()), source))?;
    let fail = |source| CliError::io("start the daemon", source);
    let (ours, theirs) = UnixStream::pair().map_err(fail)?;
    let mut command = Command::new(std::env::current_exe().map_err(fail)?);
    command.arg("--state-dir").arg(&state_dir).args(["daemon", "start", "--foreground", "--detached"]);
    if let Some(config) = &config {
        command.arg("--config").arg(config);
    }
    if let Some(timeout) = arguments.drain_timeout {
        command.arg("--drain-timeout").arg(format!("{}ms", timeout.as_millis()));
    }
    let spawned = command
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(output.try_clone().map_err(fail)?))
        .stderr(Stdio::from(output))
        .spawn();
    let child = spawned.map_err(fail)?;
    // Our copy of its end has to go, or its death would not end the wait.
    drop(command);
    let word = tokio::task::spawn_blocking(move || listen(ours)).await;
    let word = word.map_err(|error| fail(std::io::Error::other(error)))?;
    match word.as_str() {
        READY => {
            print_text(&format!("the daemon is ready, process {}\n", child.id()))?;
            Ok(0)
        }
        ANOTHER => already(None),
        "" => Err(CliError::DaemonFailed { why: "it ended before it was ready".to_owned(), log }),
        why => Err(CliError::DaemonFailed { why: why.to_owned(), log }),
    }
}

fn already(pid: Option<u32>) -> Result<u8, CliError> {
    let process = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    print_text(&format!("the daemon runs already{process}\n"))?;
    Ok(0)
}

/// What the daemon says; nothing where it ends without a word.
fn listen(socket: UnixStream) -> String {
    let mut word = String::new();
    let read = socket
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| (&socket).take(LONGEST_WORD).read_to_string(&mut word));
    match read {
        Ok(_) => word.trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            format!("it is not ready after {} s", PATIENCE.as_secs())
        }
        Err(error) => format!("its word could not be read: {error}"),
    }
}

/// The process that waits for us to be ready.
pub(super) struct Parent {
    socket: UnixStream,
}

impl Parent {
    /// Makes this process a daemon: in a session of its own, with nothing of its parent's but the socket that was its
    /// standard input.
    pub(super) fn leave() -> Result<Self, CliError> {
        let fail = |source| CliError::io("go to the background", source);
        let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(fail)?;
        let nothing = std::fs::File::open("/dev/null").map_err(fail)?;
        rustix::stdio::dup2_stdin(&nothing).map_err(|errno| fail(errno.into()))?;
        rustix::process::setsid().map_err(|errno| fail(errno.into()))?;
        Ok(Self { socket: UnixStream::from(socket) })
    }

    /// All is well. A parent that has gone needs no word.
    pub(super) fn ready(self) -> Result<(), CliError> {
        self.say(READY);
        Ok(())
    }

    /// It is not.
    pub(super) fn failed(self, error: &CliError) {
        match error {
            CliError::DaemonRuns { .. } => self.say(ANOTHER),
            other => self.say(&describe(other)),
        }
    }

    fn say(mut self, word: &str) {
        if let Err(error) = self.socket.write_all(word.as_bytes()) {
            tracing::debug!(%error, "nobody waits for the daemon any more");
        }
    }
}
