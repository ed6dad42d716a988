//! A snapshot on disk: the machine's state and memory, a copy of its disk, and a note of what it can be restored on.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use agentkernel_model::{NetworkAccess, SandboxSpec};
use serde::{Deserialize, Serialize};

use crate::ground::Ground;
use crate::rates::DeviceRates;
use crate::removal::missing_is_fine;
use crate::seal::Seal;
use crate::snapshot_file;
use crate::sparse;
use crate::vmm::SnapshotFiles;

/// Changes with what is in the folder, and with what the agent in it can do.
const FORMAT: u32 = 2;

const NOTE: &str = "machine.json";
const STATE: &str = "state";
const MEMORY: &str = "memory";
const DISK: &str = "disk.ext4";

/// A note is a few kilobytes.
const LARGEST_NOTE: u64 = 1 << 20;

/// What all formats have.
#[derive(Deserialize)]
struct Formatted {
    format: u32,
}

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Taken {
    format: u32,
    ground: Ground,
    image_id: Option<String>,
    has_network: bool,
    /// Limits of its devices, which are a part of its state.
    #[serde(default)]
    rates: DeviceRates,
    /// Of its files, once they are there.
    state: Seal,
    memory: Seal,
    disk: Seal,
}

/// All files but the note, which comes last.
pub(crate) struct Written {
    note: Taken,
    state: File,
    memory: File,
}

impl Taken {
    /// Of a machine that stands still, of a sandbox of `spec`.
    pub(crate) fn new(ground: Ground, spec: &SandboxSpec, rates: DeviceRates) -> Self {
        Self {
            format: FORMAT,
            ground,
            image_id: image_id(spec),
            has_network: spec.network == NetworkAccess::On,
            rates,
            state: Seal::default(),
            memory: Seal::default(),
            disk: Seal::default(),
        }
    }

    /// The one in `folder`; an error where it isn't whole. Takes long where its files have been touched.
    fn read(folder: &Path) -> io::Result<Self> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        let path = folder.join(NOTE);
        let file = File::open(&path).map_err(at(&path))?;
        file.take(LARGEST_NOTE).read_to_end(&mut bytes)?;
        let unreadable = |error: serde_json::Error| at(&path)(error.into());
        let Formatted { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if format != FORMAT {
            return Err(io::Error::other(format!(
                "the snapshot has the format {format}, and this version knows {FORMAT}: restore it with the agentkernel \
                 that took it, or make the sandbox anew"
            )));
        }
        let note: Self = serde_json::from_slice(&bytes).map_err(unreadable)?;
        for (name, seal) in [(STATE, &note.state), (MEMORY, &note.memory), (DISK, &note.disk)] {
            seal.check(&folder.join(name))?;
        }
        Ok(note)
    }

    /// What holds for the devices of all that is restored from it.
    pub(crate) fn rates(&self) -> DeviceRates {
        self.rates
    }

    /// Why it can't be restored here, if it can't.
    pub(crate) fn refusal(&self, here: &Ground, spec: &SandboxSpec) -> Option<String> {
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

fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| sparse::at(path, error)
}

/// The one in `folder`; an error where it isn't whole.
pub(crate) async fn read(folder: &Path) -> io::Result<Taken> {
    let folder = folder.to_owned();
    blocking(move || Taken::read(&folder)).await
}

/// Moves what the VMM has written into `folder`, and copies the disk: while the machine stands still. Where that fails the
/// VMM's files are gone.
pub(crate) async fn write(
    note: Taken,
    files: SnapshotFiles,
    disk: PathBuf,
    folder: PathBuf,
) -> io::Result<Written> {
    blocking(move || {
        let [state, memory, copy] = [STATE, MEMORY, DISK].map(|name| folder.join(name));
        let written = (|| {
            let state = snapshot_file::adopt(&files.state, &state).map_err(at(&state))?;
            let memory = snapshot_file::adopt(&files.memory, &memory).map_err(at(&memory))?;
            sparse::copy(&disk, &copy).map_err(at(&copy))?;
            Ok(Written { note, state, memory })
        })();
        written.inspect_err(|_| snapshot_file::discard(&files))
    })
    .await
}

/// Makes it small, puts it onto the disk, and notes it.
pub(crate) async fn finish(folder: &Path, written: Written) -> io::Result<()> {
    let folder = folder.to_owned();
    blocking(move || {
        let Written { mut note, state, memory } = written;
        sparse::punch_zeroes(&memory)?;
        let disk = File::open(folder.join(DISK))?;
        for (seal, file) in [(&mut note.state, state), (&mut note.memory, memory), (&mut note.disk, disk)] {
            file.sync_all()?;
            *seal = Seal::of(&file)?;
        }
        let new = folder.join("machine.new");
        std::fs::write(&new, serde_json::to_vec(&note)?).map_err(at(&new))?;
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
        missing_is_fine(std::fs::remove_file(&to))?;
        sparse::copy(&from, &to).map_err(at(&to))
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
        let rates = DeviceRates { disk_iops: std::num::NonZero::new(7), ..DeviceRates::default() };
        let note = Taken::new(here.clone(), &spec, rates);
        let files = SnapshotFiles { state: room.join("s"), memory: room.join("m") };
        let written = write(note, files, room.join("d"), folder.clone()).await.unwrap();
        assert!(Taken::read(&folder).is_err(), "the note comes last");
        finish(&folder, written).await.unwrap();
        let read = Taken::read(&folder).unwrap();
        assert_eq!((read.refusal(&here, &spec), read.rates()), (None, rates));
        let other = SandboxSpec { network: NetworkAccess::On, ..spec.clone() };
        assert!(read.refusal(&here, &other).unwrap().contains("network device"));
        let elsewhere = Ground { vmm: "firecracker 1.17.0".to_owned(), ..here };
        assert!(read.refusal(&elsewhere, &spec).unwrap().contains("1.17.0"));
        copy_disk(&folder, room.join("d")).await.unwrap();
        assert_eq!(std::fs::read(room.join("d")).unwrap(), b"disk");
        let text = std::fs::read_to_string(folder.join(NOTE)).unwrap();
        std::fs::write(folder.join(NOTE), "{\"format\":3,\"new\":[]}").unwrap();
        let error = Taken::read(&folder).unwrap_err().to_string();
        assert!(error.contains("has the format 3, and this version knows 2"), "{error}");
        std::fs::write(folder.join(NOTE), text).unwrap();
        std::fs::remove_file(folder.join(MEMORY)).unwrap();
        std::fs::write(folder.join(MEMORY), "mem").unwrap();
        let error = Taken::read(&folder).unwrap_err().to_string();
        assert!(error.contains("memory is damaged: it has 3 bytes, not 6"), "{error}");
    }
}
