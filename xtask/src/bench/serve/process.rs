//! A server of the program under test, in a process of its own.

use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agentkernel_sdk::AgentKernel;
use anyhow::{Context, Result, bail};

use crate::command;

/// How long a server gets to answer after its start, and to end.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The event loop of the measuring side: one thread, as the machine's other cores are the server's.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the event loop")
}

/// Looks again and again until `look` finds something.
pub(crate) async fn deadline<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if begun.elapsed() > limit {
            bail!("{what} not within {} s", limit.as_secs());
        }
        // sleep: between two looks at another process, until the deadline
        tokio::time::sleep(PAUSE).await;
    }
}

/// A running server; dropping it kills it.
pub(crate) struct Server {
    child: Child,
    /// Where it writes what it has to say.
    log: PathBuf,
    /// A client of it.
    pub(crate) client: AgentKernel,
}

impl Server {
    /// `agentkernel serve` on a free port of loopback. `program` is the program with its environment.
    pub(crate) async fn on_tcp(program: Command, log: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Self::on_port(program, port, log).await
    }

    /// The same on this port.
    pub(crate) async fn on_port(program: Command, port: u16, log: &Path) -> Result<Self> {
        let client = AgentKernel::builder().base_url(format!("http://127.0.0.1:{port}")).build()?;
        Self::start(program, &["serve", "--port", &port.to_string()], log, client).await
    }

    /// `agentkernel daemon start --foreground` on the socket of this state folder.
    pub(crate) async fn on_socket(program: Command, state: &Path, log: &Path) -> Result<Self> {
        let client = AgentKernel::unix(state.join("daemon/agentkernel.sock")).build()?;
        Self::start(program, &["daemon", "start", "--foreground"], log, client).await
    }

    async fn start(
        mut program: Command,
        arguments: &[&str],
        log: &Path,
        client: AgentKernel,
    ) -> Result<Self> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let child = program
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("start the server")?;
        let mut server = Self { child, log: log.to_path_buf(), client };
        let begun = Instant::now();
        loop {
            if server.client.health().await.is_ok() {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}: {}", server.last_words());
            }
            if begun.elapsed() > DEADLINE {
                bail!("the server doesn't answer after {} s: {}", DEADLINE.as_secs(), server.last_words());
            }
            // sleep: between two attempts to connect, until the deadline
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it wrote.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> Result<u16> {
        let address = self.client.address();
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        port.with_context(|| format!("{address} has no port"))
    }

    /// Its memory in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Its open descriptors.
    pub(crate) fn open_files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.id()))?.count())
    }

    /// Whether it is still there.
    pub(crate) fn is_alive(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for its end; an error where it doesn't end well.
    pub(crate) async fn stop(mut self) -> Result<()> {
        command::output(Command::new("kill").arg(self.id().to_string()))?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the server ended with {status}: {}", self.last_words());
            }
            if begun.elapsed() > DEADLINE {
                bail!("the server doesn't end: {}", self.last_words());
            }
            // sleep: the standard library can't wait for a child with a deadline
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` and `kill` there is nobody left, which is fine.
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("xtask: the server could not be killed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_at_once_is_told_with_its_words() {
        let log = std::env::temp_dir().join(format!("ak-server-{}.log", std::process::id()));
        let mut program = Command::new("sh");
        program.args(["-c", "echo wrong flag; exit 3"]);
        let failed = runtime().unwrap().block_on(Server::on_tcp(program, &log));
        let text = format!("{:#}", failed.err().unwrap());
        std::fs::remove_file(&log).unwrap();
        assert!(text.contains("exit status: 3") && text.contains("wrong flag"), "{text}");
    }

    #[test]
    fn waiting_ends() {
        let waited =
            runtime().unwrap().block_on(deadline("it", Duration::from_millis(20), async || Ok(None::<()>)));
        assert!(waited.unwrap_err().to_string().contains("it not within"));
    }
}
