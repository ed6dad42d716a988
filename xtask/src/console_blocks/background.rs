//! Commands of a document that run on while the next ones do, as servers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command;

/// How long one may take to print what the document shows, and to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// One of them.
pub(super) struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    /// Starts it with its output in `log`.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let errors = file.try_clone().context("duplicate the log's descriptor")?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().context("start bash")?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// Waits until its output is `as_expected`; what is wrong where it never is.
    pub(super) fn wait_until(&mut self, as_expected: impl Fn(&str) -> bool) -> Result<Option<String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().context("look at a command in the background")?;
            let printed =
                std::fs::read_to_string(&self.log).with_context(|| format!("read {}", self.log.display()))?;
            match ended {
                Some(status) => return Ok(Some(format!("ended ({status}):\n{printed}"))),
                None if as_expected(&printed) && !printed.is_empty() => return Ok(None),
                None if Instant::now() > deadline => return Ok(Some(format!("printed:\n{printed}"))),
                // sleep: between two looks at what a process prints, until the deadline
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// SIGTERM, passed on by timeout(1), and waits.
    pub(super) fn end(mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        command::output(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill().context("kill a command in the background")?;
                self.child.wait()?;
                bail!(
                    "a command in the background did not end with SIGTERM; its output is in {}",
                    self.log.display()
                );
            }
            // sleep: between two looks at whether a process has ended, until the deadline
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
