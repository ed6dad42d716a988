//! The program under test: a copy of its own, with a state of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::workspace::Workspace;

/// What the program under test is told: where its state is, and which backend unless a flag says otherwise.
pub(crate) fn variables(state: &Path) -> [(&'static str, PathBuf); 2] {
    [("AGENTKERNEL_STATE_DIR", state.to_path_buf()), ("AGENTKERNEL_BACKEND", "native".into())]
}

/// Program and state in one folder, removed when this is dropped.
pub(crate) struct Program {
    folder: PathBuf,
}

impl Program {
    /// Copies `built`, so that a build during the run changes nothing.
    pub(crate) fn install(built: &Path) -> Result<Self> {
        let folder = PathBuf::from(format!("/var/tmp/ak-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let program = Self { folder };
        std::fs::copy(built, program.file()).with_context(|| format!("copy {}", built.display()))?;
        Ok(program)
    }

    /// Builds it as it is released, and installs that.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self> {
        if !command::succeeds(&mut workspace.cargo(&["build", "--release", "--locked", "--quiet"]))? {
            bail!("`cargo build --release` failed");
        }
        Self::install(&workspace.binaries("release").join("agentkernel"))
    }

    /// The executable.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("agentkernel")
    }

    /// Where its sandboxes are recorded.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A folder for something else that ends with the run.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The program, with its state.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.file());
        command.envs(variables(&self.state())).args(arguments);
        command
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("xtask: remove {}: {error}", self.folder.display());
        }
    }
}
