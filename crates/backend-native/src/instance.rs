//! What is noted of a running persistent sandbox in its private folder, before its first process is let go.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use agentkernel_model::Isolation;
use agentkernel_sys::process::ProcessIdentity;
use serde::{Deserialize, Serialize};

use crate::identity::IdMap;

/// The parts of a sandbox's folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the box has written; belongs to root of the box.
    pub(crate) fn layers(&self) -> PathBuf {
        self.path.join("layers")
    }

    /// The socket's name; bound and connected through the folder's descriptor, since paths of sockets are short.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("agent.sock")
    }

    fn identity(&self) -> PathBuf {
        self.path.join("identity.json")
    }

    fn instance(&self) -> PathBuf {
        self.path.join("instance.json")
    }

    /// The ids of the sandbox, decided when it was made.
    pub(crate) fn read_identity(&self) -> io::Result<Option<IdMap>> {
        read(&self.identity())
    }

    /// Notes the ids.
    pub(crate) fn write_identity(&self, map: &IdMap) -> io::Result<()> {
        write(&self.identity(), map)
    }

    /// Forgets the ids: nothing that belongs to them is left.
    pub(crate) fn remove_identity(&self) -> io::Result<()> {
        remove(&self.identity())
    }

    /// The last start that was let go, if it was not ended in order.
    pub(crate) fn read_instance(&self) -> io::Result<Option<Instance>> {
        read(&self.instance())
    }

    /// Notes a start.
    pub(crate) fn write_instance(&self, instance: &Instance) -> io::Result<()> {
        write(&self.instance(), instance)
    }

    /// Notes the end.
    pub(crate) fn remove_instance(&self) -> io::Result<()> {
        remove(&self.instance())?;
        remove(&self.socket())
    }
}

/// A start of a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Its first process, outside.
    pub(crate) pid: u32,
    /// See [`ProcessIdentity`].
    pub(crate) start_ticks: u64,
    /// See [`ProcessIdentity`].
    pub(crate) boot_id: String,
    /// What it got.
    pub(crate) isolation: Isolation,
}

impl Instance {
    /// Who its first process is.
    pub(crate) fn process(&self) -> ProcessIdentity {
        ProcessIdentity { pid: self.pid, start_ticks: self.start_ticks, boot_id: self.boot_id.clone() }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all. Not synced to the disk: after a crash of the machine nothing of an instance is alive, and ids are
/// written once, before anything depends on them.
fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    drop(file);
    std::fs::rename(beside, path)
}
