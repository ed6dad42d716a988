//! What a box has on this machine: a folder with the door, and the note of the instance that runs.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agentkernel_model::Isolation;
use agentkernel_sys::process::ProcessIdentity;
use serde::{Deserialize, Serialize};

use crate::note::NoteFile;

/// A container that runs, as its starter saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// The engine's id of it.
    pub(crate) container: String,
    /// The agent, on an engine of this machine.
    pub(crate) agent: Option<Agent>,
    /// What it got.
    pub(crate) isolation: Isolation,
}

/// The agent's process, seen from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agent {
    pub(crate) pid: u32,
    start_ticks: u64,
    boot_id: String,
}

impl Agent {
    /// The process `pid`.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let ProcessIdentity { pid, start_ticks, boot_id } = ProcessIdentity::of(pid)?;
        Ok(Self { pid, start_ticks, boot_id })
    }

    /// Whether it lives.
    pub(crate) fn lives(&self) -> io::Result<bool> {
        let identity =
            ProcessIdentity { pid: self.pid, start_ticks: self.start_ticks, boot_id: self.boot_id.clone() };
        Ok(identity.open()?.is_some())
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// At `path`.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The folder that the box sees. Everybody may enter it, since root of the box may be anybody outside; the folder
    /// around it is private.
    pub(crate) fn door(&self) -> PathBuf {
        self.0.join("door")
    }

    fn instance(&self) -> PathBuf {
        self.0.join("instance.json")
    }

    /// Which engine has the box.
    pub(crate) fn note(&self) -> NoteFile {
        NoteFile::of(&self.0)
    }

    /// Makes the folder, where it is missing, and an empty door.
    pub(crate) fn make(&self) -> io::Result<()> {
        match std::fs::DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match std::fs::create_dir(self.door()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        std::fs::set_permissions(self.door(), PermissionsExt::from_mode(0o755))
    }

    /// Removes all that is in it; fine if it is gone.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let note = self.note();
        let entries = match std::fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.path() == note.path() {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
        // Last: while it is there, there may be more.
        match std::fs::remove_file(note.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The instance that was noted last.
    pub(crate) fn read_instance(&self) -> io::Result<Option<Instance>> {
        match std::fs::read(self.instance()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes an instance, whole or not at all.
    pub(crate) fn write_instance(&self, instance: &Instance) -> io::Result<()> {
        let fresh = self.0.join(format!("instance.{}", std::process::id()));
        std::fs::write(&fresh, serde_json::to_vec(instance)?)?;
        std::fs::rename(fresh, self.instance())
    }

    /// Forgets it; fine if there is none.
    pub(crate) fn remove_instance(&self) -> io::Result<()> {
        match std::fs::remove_file(self.instance()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use agentkernel_model::Boundary;

    use super::*;

    #[test]
    fn an_instance_comes_back_and_goes() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path().join("box"));
        folder.make().unwrap();
        folder.make().unwrap();
        assert_eq!(folder.read_instance().unwrap(), None);
        let isolation = Isolation {
            backend: "docker".parse().unwrap(),
            boundary: Boundary::SharedKernel,
            rootless: false,
            layers: Vec::new(),
            not_enforced: Vec::new(),
        };
        let agent = Agent::of(std::process::id()).unwrap();
        assert!(agent.lives().unwrap());
        let instance = Instance { container: "c".to_owned(), agent: Some(agent), isolation };
        folder.write_instance(&instance).unwrap();
        assert_eq!(folder.read_instance().unwrap(), Some(instance));
        folder.clear().unwrap();
        folder.clear().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
