//! Where the project is, and what cargo knows of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command;

/// The project's folder and cargo's view of it.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target folder: where builds land and where tasks keep their logs.
    pub(crate) target: PathBuf,
    /// The triple that the workspace is built for.
    pub(crate) triple: String,
}

/// The part of `cargo metadata` that the tasks read.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    target_directory: PathBuf,
}

/// One package, ours or not.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a `[dependencies]` table.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` is an ordinary one; else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Set for the workspace's own crates.
    pub(crate) path: Option<PathBuf>,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask has no parent folder")?
            .to_path_buf();
        let target = metadata(&root, &["--no-deps"])?.target_directory;
        let version = command::output(Command::new("rustc").arg("-vV"))?;
        let triple = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("`rustc -vV` names no host")?
            .to_owned();
        Ok(Self { root, target, triple })
    }

    /// All packages, third-party ones included.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        metadata(&self.root, &[])
    }

    /// A command that starts in the workspace's root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// `cargo` with these arguments.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("cargo");
        command.args(arguments);
        command
    }

    /// Where a build of `profile` (`debug` or `release`) puts its binaries.
    pub(crate) fn binaries(&self, profile: &str) -> PathBuf {
        self.target.join(&self.triple).join(profile)
    }

    /// A folder for the tasks' own files, in the target folder.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join("xtask").join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    /// The files under version control and those that could be, relative to the root, sorted.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut git = self.command("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
        let listing = command::output(&mut git)?;
        let mut files: Vec<PathBuf> =
            listing.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
        files.retain(|file| self.root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }
}

fn metadata(root: &Path, extra: &[&str]) -> Result<Metadata> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).args(["metadata", "--format-version", "1"]).args(extra);
    serde_json::from_str(&command::output(&mut cargo)?).context("read cargo metadata")
}
