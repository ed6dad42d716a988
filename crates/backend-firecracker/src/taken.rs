//! A snapshot on disk: the machine's state and memory, a copy of its disk, and a note of what it can be restored on.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use agentkernel_model::{NetworkAccess, SandboxSpec};
use serde::{Deserialize, Serialize};

use crate::ground::Ground;
use crate::snapshot_file;
use crate::sparse;
use crate::vmm::SnapshotFiles;

/// Changes with what is in the folder, and with what the agent in it can do.
const FORMAT: u32 = 1;

const NOTE: &str = "machine.json";
const STATE: &str = "state";
const MEMORY: &str = "memory";
const DISK: &str = "disk.ext4";

/// A note is a few kilobytes.
const LARGEST_NOTE: u64 = 1 << 20;

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Taken {
    format: u32,
    ground: Ground,
    image_id: Option<String>,
    has_network: bool,
    /// Sizes of its files, once they are there.
    state_bytes: u64,
    memory_bytes: u64,
    disk_bytes: u64,
}

/// All files but the note, which comes last.
pub(crate) struct Written {
    note: Taken,
    state: File,
    memory: File,
}

impl Taken {
    /// Of a machine that stands still, of a sandbox of `spec`.
    pub(crate) fn new(ground: Ground, spec: &SandboxSpec) -> Self {
        Self {
            format: FORMAT,
            ground,
            image_id: image_id(spec),
            has_network: spec.network == NetworkAccess::On,
            state_bytes: 0,
            memory_bytes: 0,
            disk_bytes: 0,
        }
    }

    /// The one in `folder`; an error where it isn't whole.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        File::open(folder.join(NOTE))?.take(LARGEST_NOTE).read_to_end(&mut bytes)?;
        let note: Self = serde_json::from_slice(&bytes)?;
        for (name, wanted) in
            [(STATE, note.state_bytes), (MEMORY, note.memory_bytes), (DISK, note.disk_bytes)]
        {
            let found = std::fs::metadata(folder.join(name))?.len();
            if found != wanted {
                return Err(io::Error::other(format!(
                    "the snapshot is damaged: its file {name} has {found} bytes, not {wanted}"
                )));
            }
        }
        Ok(note)
    }

    /// Why it can't be restored here, if it can't.
    pub(crate) fn refusal(&self, here: &Ground, spec: &SandboxSpec) -> Option<String> {
        if self.format != FORMAT {
            return Some(format!("it has the format {}, and this version knows {FORMAT}", self.format));
        }
        if self.image_id != image_id(spec) {
            return Some("it was taken of a sandbox of another image".to_owned());
        }
        if self.has_network != (spec.network == NetworkAccess::On) {
            return Some("its machine has another network device than was asked for".to_owned());
        }
        self.ground.difference(here)
    }
}

fn image_id(spec: &SandboxSpec) -> Option<String> {
    spec.image_id.as_ref().map(ToString::to_string)
}

/// What a VMM restores.
pub(crate) fn files(folder: &Path) -> SnapshotFiles {
    SnapshotFiles { state: folder.join(STATE), memory: folder.join(MEMORY) }
}

async fn blocking<Done: Send + 'static>(
    work: impl FnOnce() -> io::Result<Done> + Send + 'static,
) -> io::Result<Done> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Moves what the VMM has written into `folder`, and copies the disk: while the machine stands still.
pub(crate) async fn write(
    mut note: Taken,
    files: SnapshotFiles,
    disk: PathBuf,
    folder: PathBuf,
) -> io::Result<Written> {
    blocking(move || {
        let state = snapshot_file::adopt(&files.state, &folder.join(STATE))?;
        let memory = snapshot_file::adopt(&files.memory, &folder.join(MEMORY))?;
        sparse::copy(&disk, &folder.join(DISK))?;
        note.state_bytes = state.metadata()?.len();
        note.memory_bytes = memory.metadata()?.len();
        note.disk_bytes = std::fs::metadata(folder.join(DISK))?.len();
        Ok(Written { note, state, memory })
    })
    .await
}

/// Makes it small, puts it onto the disk, and notes it.
pub(crate) async fn finish(folder: &Path, written: Written) -> io::Result<()> {
    let folder = folder.to_owned();
    blocking(move || {
        let Written { note, state, memory } = written;
        sparse::punch_zeroes(&memory)?;
        for file in [state, memory, File::open(folder.join(DISK))?] {
            file.sync_all()?;
        }
        let new = folder.join("machine.new");
        std::fs::write(&new, serde_json::to_vec(&note)?)?;
        File::open(&new)?.sync_all()?;
        std::fs::rename(new, folder.join(NOTE))?;
        File::open(&folder)?.sync_all()
    })
    .await
}

/// The disk of a new sandbox. What an earlier try has left is not its own.
pub(crate) async fn copy_disk(folder: &Path, to: PathBuf) -> io::Result<()> {
    let from = folder.join(DISK);
    blocking(move || {
        match std::fs::remove_file(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sparse::copy(&from, &to)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_whole_one_is_read() {
        let place = tempfile::tempdir().unwrap();
        let (room, folder) = (place.path().join("room"), place.path().join("taken"));
        std::fs::create_dir(&room).unwrap();
        std::fs::create_dir(&folder).unwrap();
        for (name, content) in [("s", "state"), ("m", "memory"), ("d", "disk")] {
            std::fs::write(room.join(name), content).unwrap();
        }
        let spec = agentkernel_testkit::plain_spec(&"firecracker".parse().unwrap());
        let here = Ground::here("firecracker 1.12.0".to_owned()).unwrap();
        let note = Taken::new(here.clone(), &spec);
        let files = SnapshotFiles { state: room.join("s"), memory: room.join("m") };
        let written = write(note, files, room.join("d"), folder.clone()).await.unwrap();
        assert!(Taken::read(&folder).is_err(), "the note comes last");
        finish(&folder, written).await.unwrap();
        let read = Taken::read(&folder).unwrap();
        assert_eq!(read.refusal(&here, &spec), None);
        let other = SandboxSpec { network: NetworkAccess::On, ..spec.clone() };
        assert!(read.refusal(&here, &other).unwrap().contains("network device"));
        let later = Taken { format: 2, ..read.clone() };
        assert!(later.refusal(&here, &spec).unwrap().contains("format 2"));
        let elsewhere = Ground { vmm: "firecracker 1.17.0".to_owned(), ..here };
        assert!(read.refusal(&elsewhere, &spec).unwrap().contains("1.17.0"));
        copy_disk(&folder, room.join("d")).await.unwrap();
        assert_eq!(std::fs::read(room.join("d")).unwrap(), b"disk");
        std::fs::remove_file(folder.join(MEMORY)).unwrap();
        std::fs::write(folder.join(MEMORY), "mem").unwrap();
        let error = Taken::read(&folder).unwrap_err().to_string();
        assert!(error.contains("memory has 3 bytes, not 6"), "{error}");
    }
}
