//! The program under test, and its killers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_agentkernel");

/// One system call of an invocation: the `occurrence`-th of its name.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) occurrence: usize,
}

/// A state folder of its own.
pub(crate) struct Machine {
    pub(crate) state: PathBuf,
    _folder: tempfile::TempDir,
}

impl Machine {
    /// `None`, said aloud, where the suite can't run.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let skipped = |why: &str| {
            println!("SKIPPED: crash suite, {name}: {why}");
            None
        };
        if !["/usr/bin/strace", "/bin/strace"].iter().any(|path| Path::new(path).exists()) {
            return skipped("strace is not installed");
        }
        let folder = tempfile::Builder::new().prefix("agentkernel-crash-").tempdir().unwrap();
        let machine = Self { state: folder.path().join("state"), _folder: folder };
        let first = machine.run(&["run", "--no-network", "--allow-unlimited", "--", "true"]);
        if !first.status.success() {
            return skipped(String::from_utf8_lossy(&first.stderr).trim());
        }
        Some(machine)
    }

    /// Every system call unless this is a quick run.
    pub(crate) fn stride(&self) -> usize {
        std::env::var("AGENTKERNEL_TEST_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    /// How many random kills.
    pub(crate) fn random_kills(&self) -> u64 {
        std::env::var("AGENTKERNEL_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
    }

    pub(crate) fn has_network(&self) -> bool {
        self.run(&["run", "--network", "--allow-unlimited", "--", "true"]).status.success()
    }

    fn environment(&self, command: &mut Command) {
        // An ordinary user may have no cgroup to limit with; what is tested here is what is left, not what is limited.
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", &self.state)
            .env("AGENTKERNEL_STATE_DIR", &self.state)
            .env("AGENTKERNEL_ALLOW_UNLIMITED", "true")
            .env("AGENTKERNEL_BACKEND", "native")
            .stdin(Stdio::null());
    }

    /// To the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        self.environment(&mut command);
        command.args(arguments).output().unwrap()
    }

    fn strace(&self, options: &[&str], arguments: &[&str]) -> ExitStatus {
        let mut command = Command::new("strace");
        self.environment(&mut command);
        command
            .arg("-q")
            .args(options)
            .arg(BINARY)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    }

    /// The system calls of one whole invocation, in order; its children's are not among them.
    pub(crate) fn calls(&self, arguments: &[&str]) -> Vec<Call> {
        let log = self.state.with_extension("strace");
        let path = log.to_str().unwrap();
        assert!(self.strace(&["-o", path], arguments).success(), "{arguments:?} fails when nothing kills it");
        let mut seen: HashMap<String, usize> = HashMap::new();
        let text = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
        let names = text.lines().filter_map(|line| line.split_once('(').map(|(name, _)| name.to_owned()));
        // The first is the exec of the program itself: before it there is nothing to kill.
        names
            .skip(1)
            .map(|name| {
                let occurrence = seen.entry(name.clone()).or_default();
                *occurrence += 1;
                Call { name, occurrence: *occurrence }
            })
            .collect()
    }

    /// Killed on entering that call.
    pub(crate) fn killed_at(&self, call: &Call, arguments: &[&str]) {
        let trace = format!("trace={}", call.name);
        let inject = format!("inject={}:signal=SIGKILL:when={}", call.name, call.occurrence);
        self.strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject], arguments);
    }

    /// Killed some time after its start.
    pub(crate) fn killed_after(&self, microseconds: u64, arguments: &[&str]) {
        let mut command = Command::new(BINARY);
        self.environment(&mut command);
        let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_micros(microseconds);
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        // Fine if it was faster.
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// xorshift64: where the kills fall; the same on every machine, as far as its clock is.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
