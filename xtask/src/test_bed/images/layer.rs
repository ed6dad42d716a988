//! Folders to tar files, the same bytes each time.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::image::MADE_AT_SECONDS;
use crate::command;

/// A folder that becomes a layer.
pub(super) struct Layer {
    pub(super) root: PathBuf,
}

impl Layer {
    /// An empty one in `folder`.
    pub(super) fn new(folder: &Path, name: &str) -> Result<Self> {
        let root = folder.join(name);
        std::fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        Ok(Self { root })
    }

    /// A folder in it, with its parents.
    pub(super) fn folder(&self, path: &str, mode: u32) -> Result<PathBuf> {
        let full = self.root.join(path);
        std::fs::create_dir_all(&full).with_context(|| format!("create {}", full.display()))?;
        set_mode(&full, mode)?;
        Ok(full)
    }

    /// A file in it, with its folders.
    pub(super) fn file(&self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let full = self.root.join(path);
        if let Some(parent) = full.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&full, content).with_context(|| format!("write {}", full.display()))?;
        set_mode(&full, mode)?;
        Ok(full)
    }

    /// A copy of a file of this machine; links are followed.
    pub(super) fn copy(&self, from: &Path, path: &str, mode: u32) -> Result<PathBuf> {
        let content = std::fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.file(path, mode, content)
    }

    /// A symbolic link in it.
    pub(super) fn link(&self, path: &str, target: &str) -> Result<()> {
        std::os::unix::fs::symlink(target, self.root.join(path)).with_context(|| format!("link {path}"))
    }

    /// Gives a file or folder to somebody, by numbers.
    pub(super) fn give(&self, path: &str, user: u32, group: u32) -> Result<()> {
        std::os::unix::fs::chown(self.root.join(path), Some(user), Some(group))
            .with_context(|| format!("change the owner of {path}"))
    }

    /// The tar file, beside the folder.
    pub(super) fn pack(&self) -> Result<PathBuf> {
        let tar = self.root.with_extension("tar");
        pack(&self.root, &tar)?;
        Ok(tar)
    }
}

/// Everything in `folder`, in the order of names, with numbers for owners and one time for all.
pub(super) fn pack(folder: &Path, tar: &Path) -> Result<()> {
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut command = Command::new("tar");
    command.args(["--create", "--format=gnu", "--sort=name", "--numeric-owner"]);
    command.arg(format!("--mtime=@{MADE_AT_SECONDS}"));
    command.arg("--file").arg(tar).arg("--directory").arg(folder).arg("--").args(names);
    command::output(&mut command).map(drop)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("change the mode of {}", path.display()))
}
