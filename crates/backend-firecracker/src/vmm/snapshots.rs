//! Firecracker's snapshots. Every path in one is relative, so a machine restored from it finds its own files in its own
//! folder.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use async_trait::async_trait;

use super::firecracker::{Bare, INTERFACE, NAME, blame, or_end, place_drives};
use super::{Firecracker, Machine, Noted, RestoreSpec, SnapshotFiles, Snapshots, VmmError};
use crate::api::{
    ApiError, Client, MemoryBackend, MemoryBackendKind, NetworkOverride, SnapshotCreate, SnapshotKind,
    SnapshotLoad, VmState,
};
use crate::stamp::FileStamp;
use crate::steps::Steps;

/// What a machine writes.
const STATE: &str = "snapshot.state";
const MEMORY: &str = "snapshot.memory";
/// What a machine is restored from: it may write the others at the same time.
const FROM_STATE: &str = "restored.state";
const FROM_MEMORY: &str = "restored.memory";

fn api(machine: &Machine) -> Result<Client, VmmError> {
    let api = machine.api().map_err(VmmError::prepare("open the machine's folder"))?;
    api.ok_or_else(|| VmmError::Unsupported {
        vmm: machine.vmm,
        what: "pause or snapshot a machine".to_owned(),
    })
}

/// `asked`, told apart from the machine's own end.
async fn done(
    machine: &Machine,
    during: &'static str,
    asked: impl Future<Output = Result<(), ApiError>>,
) -> Result<(), VmmError> {
    match machine.unless_ended(during, asked).await? {
        Ok(()) => Ok(()),
        Err(error) => Err(blame(machine, during, error.into()).await),
    }
}

/// The file, so that the caller can move it; whoever the VMM is has made it.
fn remove(machine: &Machine, names: &[&str]) {
    for name in names {
        if let Err(error) = crate::socket::remove(machine.folder(), name) {
            tracing::warn!(%error, name, "part of a snapshot that failed was left behind");
        }
    }
}

/// `Firecracker v1.12.0` is its first line.
fn said_version(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let version = text.lines().next()?.trim().strip_prefix("Firecracker v")?;
    crate::api::Version::parse(version).map(|_| version.to_owned())
}

#[async_trait]
impl Snapshots for Firecracker {
    fn program_stamp(&self) -> io::Result<String> {
        Ok(format!("{NAME} {:?}", FileStamp::of(&self.program)?))
    }

    async fn version(&self) -> Result<String, VmmError> {
        let program = self.program.clone();
        let failed = |source| VmmError::NoProgram { program: self.program.clone(), source };
        let ask = move || {
            Command::new(program)
                .arg("--version")
                .env_clear()
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .output()
        };
        let asked =
            tokio::task::spawn_blocking(ask).await.map_err(|error| failed(io::Error::other(error)))?;
        let unknown = || failed(io::Error::other("it doesn't say which version it is"));
        said_version(&asked.map_err(failed)?.stdout).ok_or_else(unknown)
    }

    async fn pause(&self, machine: &Machine) -> Result<(), VmmError> {
        let api = api(machine)?;
        done(machine, "it was paused", api.patch_vm(&VmState::Paused)).await
    }

    async fn resume(&self, machine: &Machine) -> Result<(), VmmError> {
        let api = api(machine)?;
        done(machine, "it was resumed", api.patch_vm(&VmState::Resumed)).await
    }

    async fn take(&self, machine: &Machine) -> Result<SnapshotFiles, VmmError> {
        let api = api(machine)?;
        let request = SnapshotCreate {
            snapshot_path: STATE.to_owned(),
            mem_file_path: MEMORY.to_owned(),
            snapshot_type: SnapshotKind::Full,
        };
        let taken = done(machine, "its snapshot was taken", api.create_snapshot(&request)).await;
        let path = |name: &str| machine.room.path().join(Path::new(name));
        match taken {
            Ok(()) => Ok(SnapshotFiles { state: path(STATE), memory: path(MEMORY) }),
            Err(error) => {
                remove(machine, &[STATE, MEMORY]);
                Err(error)
            }
        }
    }

    async fn restore(&self, spec: &RestoreSpec, noted: &mut Noted<'_>) -> Result<Machine, VmmError> {
        let mut steps = Steps::begin();
        spec.check()?;
        let mut room = self.make_room(&spec.site)?;
        room.place(FROM_STATE, &spec.snapshot.state, true)?;
        room.place(FROM_MEMORY, &spec.snapshot.memory, true)?;
        place_drives(&mut room, &spec.drives)?;
        let Bare { machine, api, .. } = self.launch(&spec.site, room, noted).await?;
        steps.done("vmm");
        let tap =
            |tap: &String| NetworkOverride { iface_id: INTERFACE.to_owned(), host_dev_name: tap.clone() };
        let request = SnapshotLoad {
            snapshot_path: FROM_STATE.to_owned(),
            mem_backend: MemoryBackend {
                backend_type: MemoryBackendKind::File,
                backend_path: FROM_MEMORY.to_owned(),
            },
            track_dirty_pages: false,
            resume_vm: spec.resume,
            network_overrides: spec.tap.iter().map(tap).collect(),
            vsock_override: None,
        };
        let loaded = done(&machine, "it was restored", api.load_snapshot(&request)).await;
        steps.done("load");
        or_end(machine, loaded).map(|(machine, ())| machine)
    }
}
