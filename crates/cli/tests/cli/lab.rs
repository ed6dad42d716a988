//! A state folder, a home and a project of their own, and the program to use them with.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_agentkernel");

/// Flags with which every machine can make a sandbox: limits are let go where they can't be enforced, and there is no
/// network to set up.
pub(crate) const EASY: [&str; 2] = ["--allow-unlimited", "--no-network"];

/// One test's own place. What is left in it is removed at its end.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    /// For tests that make no sandbox.
    pub(crate) fn without_sandboxes() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["home", "project"] {
            std::fs::create_dir(lab.folder.path().join(name)).unwrap();
        }
        lab
    }

    /// For tests that do; `None`, and the reason printed, where none can be made.
    pub(crate) fn new(test: &str) -> Option<Self> {
        static MISSING: OnceLock<Option<String>> = OnceLock::new();
        let lab = Self::without_sandboxes();
        let missing = MISSING.get_or_init(|| {
            let tried = lab.run(&["true"]);
            (!tried.status.success()).then(|| String::from_utf8_lossy(&tried.stderr).trim().to_owned())
        });
        if let Some(reason) = missing {
            println!("SKIPPED: {test}: {reason}");
            return None;
        }
        Some(lab)
    }

    /// Where sandboxes are kept.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The folder that the program is started in.
    pub(crate) fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    /// The program with a clean environment.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.folder.path().join("home"))
            .env("AGENTKERNEL_STATE_DIR", self.state())
            // Where a Docker or Podman runs it would be chosen; these tests are about native boxes.
            .env("AGENTKERNEL_BACKEND", "native")
            .current_dir(self.project())
            .stdin(Stdio::null());
        command
    }

    /// Its output.
    pub(crate) fn output<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// `run` with [`EASY`] and these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.output([&["run"], &EASY[..], arguments].concat())
    }

    /// The output where it must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// With this on standard input.
    pub(crate) fn with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // The command may not want all of it.
            if let Err(error) = stdin.write_all(&input) {
                assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
            }
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// A running sandbox.
    pub(crate) fn sandbox(&self, name: &str) {
        self.ok(&[&["create", name], &EASY[..]].concat());
        self.ok(&["start", name]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.state().exists() {
            return;
        }
        let names = self.output(["list", "--quiet"]).stdout;
        for name in String::from_utf8_lossy(&names).lines() {
            let output = self.output(["remove", "--force", name]);
            if !output.status.success() {
                println!("{name} could not be removed: {}", shown(&output));
            }
        }
    }
}

/// An output for a failed assertion.
pub(crate) fn shown(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The exit code; a panic where a signal ended it.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{}", shown(output)))
}

/// Standard error as text.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until `done` for at most ten seconds.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "waited for {what} in vain");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

/// Writes a file of the project.
pub(crate) fn put(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).unwrap();
}
