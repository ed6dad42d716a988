//! A Docker daemon of the benchmark's own, with its stock options, so that a machine's own daemon is neither needed nor
//! disturbed: its bridge and its packet filter live in a network namespace that goes away with it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command;

/// How long the daemon gets to start and to stop.
const DEADLINE: Duration = Duration::from_secs(60);

/// Starts the daemon with private mounts and its own loopback.
const START: &str = r#"
ip link set lo up
exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/socket"
"#;

/// A running daemon; dropping it stops it and removes its files.
pub(crate) struct Docker {
    folder: PathBuf,
    daemon: Child,
}

impl Docker {
    /// The image that containers are made of: one static binary, so that no image layer slows it down.
    pub(crate) const IMAGE: &'static str = "agentkernel-bench";

    /// Starts a daemon in `folder` and makes the image. An error says what is missing.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        if !command::is_root() {
            bail!("only root can start a Docker daemon");
        }
        for program in ["dockerd", "docker", "busybox"] {
            command::find(program).with_context(|| format!("{program} is not installed"))?;
        }
        std::fs::create_dir_all(folder)?;
        let log = std::fs::File::create(folder.join("log"))?;
        let daemon = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--", "sh", "-c", START, "sh"])
            .arg(folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start dockerd")?;
        let docker = Self { folder: folder.to_path_buf(), daemon };
        docker.wait_until_ready()?;
        docker.make_image()?;
        Ok(docker)
    }

    /// The client's first words.
    pub(crate) fn client(&self) -> [String; 3] {
        let program = command::find("docker").unwrap_or_else(|| PathBuf::from("docker"));
        [program.to_string_lossy().into_owned(), "--host".to_owned(), self.host()]
    }

    /// The value of `DOCKER_HOST` for it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    /// The client with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let [program, flag, host] = self.client();
        let mut command = Command::new(program);
        command.args([flag, host]).args(arguments);
        command
    }

    fn wait_until_ready(&self) -> Result<()> {
        let begun = Instant::now();
        while let Err(error) = command::output(&mut self.command(&["version"])) {
            if begun.elapsed() > DEADLINE {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let last = log.lines().next_back().unwrap_or_default();
                bail!("dockerd is not ready after {} s: {error:#}; its log ends: {last}", DEADLINE.as_secs());
            }
            // sleep: between two attempts to connect, until the deadline
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn make_image(&self) -> Result<()> {
        let script = r#"
set -eu
root=$1; busybox=$2; image=$3; shift 3
mkdir -p "$root/bin"; cp "$busybox" "$root/bin/busybox"
for name in sh echo sleep true cat; do ln -sf busybox "$root/bin/$name"; done
tar -C "$root" -c . | "$@" import - "$image"
"#;
        let root = self.folder.join("image");
        let busybox = command::find("busybox").context("busybox is not installed")?;
        let mut sh = Command::new("sh");
        sh.args(["-c", script, "sh"]).arg(&root).arg(busybox).arg(Self::IMAGE).args(self.client());
        command::output(&mut sh).map(drop).context("make the image")
    }

    fn stop(&mut self) -> Result<()> {
        // unshare(1) and sh(1) have become dockerd: the child is the daemon, which ends its containers on SIGTERM.
        command::output(Command::new("kill").arg(self.daemon.id().to_string()))?;
        let begun = Instant::now();
        while self.daemon.try_wait()?.is_none() {
            if begun.elapsed() > DEADLINE {
                self.daemon.kill()?;
            }
            // sleep: the standard library can't wait for a child with a deadline
            std::thread::sleep(Duration::from_millis(50));
        }
        command::output(Command::new("rm").arg("-rf").arg(&self.folder))?;
        // Empty control groups that the daemon leaves in each hierarchy.
        let leftover =
            "find /sys/fs/cgroup -depth -type d -path '*/docker*' -exec rmdir {} + 2>/dev/null || true";
        command::output(Command::new("sh").args(["-c", leftover])).map(drop)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("xtask: stop dockerd: {error:#}");
        }
    }
}
