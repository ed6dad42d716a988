//! A state folder of a test's own, and the program with the settings under which every machine can serve.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::image_archive::Archive;
use crate::lab::{Lab, shown};

/// What the documented examples of v0.4 start sandboxes from.
pub(crate) const IMAGE: &str = "alpine:3.20";

/// The configuration of servers.
pub(crate) const CONFIG: &str = "server.toml";

/// One test's place.
pub(crate) struct Place {
    lab: Lab,
}

impl Place {
    /// For tests that make no sandbox.
    pub(crate) fn without_sandboxes() -> Self {
        Self { lab: Lab::without_sandboxes() }
    }

    /// For tests that do; `None`, said aloud, where none can be made.
    pub(crate) fn new(test: &str) -> Option<Self> {
        Some(Self { lab: Lab::new(test)? })
    }

    /// With [`IMAGE`] in its store; `None`, said aloud, where that can't be made here.
    pub(crate) fn with_image(test: &str) -> Option<Self> {
        let place = Self::new(test)?;
        let archive = Archive::small_system(test)?.save(&place.lab.project(), IMAGE);
        place.ok(&["image", "import", archive.to_str().unwrap()]);
        std::fs::remove_file(archive).unwrap();
        Some(place)
    }

    /// Where sandboxes are kept.
    pub(crate) fn state(&self) -> PathBuf {
        self.lab.state()
    }

    /// A file or folder of the project, which is also where the program is started.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.lab.project().join(name)
    }

    /// The socket of its daemon.
    pub(crate) fn daemon_socket(&self) -> PathBuf {
        self.state().join("daemon").join("agentkernel.sock")
    }

    /// Writes the configuration that its servers are given.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path(CONFIG), text).unwrap();
    }

    /// The program: limits are let go where this machine can't enforce them, and there is no network to set up.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command(arguments);
        command.env("AGENTKERNEL_ALLOW_UNLIMITED", "true").env("AGENTKERNEL_NETWORK", "false");
        command.env("AGENTKERNEL_PULL", "never");
        command
    }

    /// Its output.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it wrote to standard output where it must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A new key of this scope.
    pub(crate) fn key(&self, name: &str, scope: &str) -> String {
        let printed = self.ok(&["key", "create", name, "--scope", scope]);
        let key = printed.lines().next().unwrap_or_default().trim().to_owned();
        assert!(key.len() >= 32, "no key: {printed:?}");
        key
    }
}

/// A file beside the tests, such as a script.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve").join(name)
}
