//! A process of the bed's that runs on its own until it is told to end.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::place::Place;
use super::processes::{MARK, wait_until};

/// How long a component gets to come up on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// A started process. Dropping this does not end it.
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    log: std::path::PathBuf,
}

impl Daemon {
    /// Starts `command` apart from the terminal, with its output in `<bed>/<name>.log`.
    pub(crate) fn start(place: &Place, name: &'static str, command: &mut Command) -> Result<Self> {
        let log = place.join(&format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .env(MARK, &place.folder)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Waits until `is_ready`; an error where the process has ended or the time is up.
    pub(crate) fn wait_ready(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let mut ended = None;
        let ready = wait_until(READY_WITHIN, || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some() || is_ready()
        });
        if ready && ended.is_none() {
            return Ok(());
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        let how = match ended {
            Some(status) => format!("ended with {status}"),
            None => format!("is not ready after {} s", READY_WITHIN.as_secs()),
        };
        bail!("{} {how}; its log ends: {}", self.name, last.join(" < "))
    }
}

/// Whether an engine answers on this socket (Docker API, `/_ping`; Podman has it too).
pub(crate) fn answers(socket: &Path) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

/// A port of the loopback that nobody listens on. Somebody may take it before it is used: the user then fails to start.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}
