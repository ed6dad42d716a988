//! Sandboxes with a record: a machine that outlives its maker, and a disk of its own that outlives the machine.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{AgentGuest, BackendError, BoxRecord, Guest, Lifetime};
use agentkernel_model::{Action, Isolation, Mib, Phase, PhaseError};
use agentkernel_sys::ext4_file;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::backend::Parts;
use crate::removal::{missing_is_fine, remove_folder};
use crate::snapshots;
use crate::start::{self, Start};
use crate::vmm::{Life, Machine, MachineNote};

/// What a sandbox may write where nobody limits it; the file is sparse.
const USUAL_DISK: Mib = Mib(32 * 1024);

/// How long a machine may take to put what was written onto its disk, once its processes have ended.
const SWITCH_OFF: Duration = Duration::from_secs(20);

/// The parts of a sandbox's folder.
pub(crate) struct Folder<'a>(pub(crate) &'a BoxRecord);

/// A start of a sandbox, noted before its machine runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) machine: MachineNote,
    pub(crate) isolation: Isolation,
}

impl Folder<'_> {
    /// What the box writes.
    pub(crate) fn disk(&self) -> PathBuf {
        self.0.dir.join("disk.ext4")
    }

    /// The machine's own.
    pub(crate) fn machine(&self) -> PathBuf {
        self.0.dir.join("machine")
    }

    fn instance(&self) -> PathBuf {
        self.0.dir.join("instance.json")
    }

    fn read_instance(&self) -> io::Result<Option<Instance>> {
        match std::fs::read(self.instance()) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whole or not at all. Not synced: after a crash of the host no machine is alive.
    pub(crate) fn write_instance(&self, instance: &Instance) -> io::Result<()> {
        let new = self.0.dir.join("instance.new");
        std::fs::write(&new, serde_json::to_vec(instance)?)?;
        std::fs::rename(new, self.instance())
    }

    /// Removes what the box wrote; fine if it is gone.
    pub(crate) fn remove_disk(&self) -> io::Result<()> {
        missing_is_fine(std::fs::remove_file(self.disk()))
    }

    /// Ends what is left of the last start.
    pub(crate) fn clear_machine(&self, parts: &Parts) -> io::Result<()> {
        if let Some(instance) = self.read_instance()? {
            Machine::end_noted(&instance.machine)?;
        }
        parts.surroundings().remove_place(&self.0.id)?;
        remove_folder(&self.machine())?;
        missing_is_fine(std::fs::remove_file(self.instance()))
    }
}

pub(crate) fn step<Cause>(verb: &str, record: &BoxRecord) -> impl FnOnce(Cause) -> BackendError + use<Cause>
where
    Cause: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let action = format!("{verb} sandbox {}", record.name);
    move |source| BackendError::runtime(action, source)
}

/// Makes the disk, and the image's file, so that a start needs nothing more; fine if they are there.
pub(crate) async fn create(parts: &Parts, record: &BoxRecord) -> Result<(), BackendError> {
    let plan = parts.plan(&record.spec, Lifetime::Persistent)?;
    parts.equipment()?;
    parts.block_image(&record.spec).await?;
    let disk = Folder(record).disk();
    if disk.exists() {
        return Ok(());
    }
    ext4_file::make(&disk, plan.disk().unwrap_or(USUAL_DISK).bytes(), (0, 0)).map_err(step("make", record))
}

/// Starts it; fine if it runs.
pub(crate) async fn start(parts: &Parts, record: &BoxRecord) -> Result<Isolation, BackendError> {
    if let Some((_, isolation)) = running(record)? {
        return Ok(isolation);
    }
    let folder = Folder(record);
    folder.clear_machine(parts).map_err(step("start", record))?;
    let plan = parts.plan(&record.spec, Lifetime::Persistent)?;
    let boundary = parts.equipment()?.boundary;
    let image = parts.block_image(&record.spec).await?;
    let start = Start {
        parts,
        plan: &plan,
        id: &record.id,
        folder: folder.machine(),
        image: &image.path,
        disk: Some(folder.disk()),
        life: Life::Lasting,
    };
    let mut note = |note: &MachineNote| {
        let isolation = plan.isolation(boundary, &note.confinement);
        folder.write_instance(&Instance { machine: note.clone(), isolation })
    };
    match start.run(&mut note).await {
        Ok((machine, _stream)) => Ok(plan.isolation(boundary, machine.confinement())),
        Err(error) => {
            if let Err(error) = folder.clear_machine(parts) {
                tracing::warn!(%error, "what is left of a machine that failed to start could not be removed");
            }
            Err(error)
        }
    }
}

/// Stops it; fine if it is stopped.
pub(crate) async fn stop(parts: &Parts, record: &BoxRecord, grace: Duration) -> Result<(), BackendError> {
    if let Some((machine, _)) = running(record)? {
        if let Err(error) = switch_off(parts, record, &machine, grace).await {
            tracing::warn!(%error, "a machine did not switch itself off, and is ended");
        }
        machine.end().map_err(step("stop", record))?;
    }
    Folder(record).clear_machine(parts).map_err(step("stop", record))
}

/// Ends its commands and lets it write its disk.
async fn switch_off(
    parts: &Parts,
    record: &BoxRecord,
    machine: &Machine,
    grace: Duration,
) -> Result<(), BackendError> {
    if snapshots::stands_still(machine).await? {
        snapshots::resume(parts, record, machine).await?;
    }
    let limit = parts.longest_silence();
    let off = async {
        let guest = AgentGuest::connect(start::connect(machine, limit).await?);
        guest.power_off(grace).await?;
        machine.ended().await.map_err(|source| BackendError::runtime("wait for a machine's end", source))
    };
    let late = || BackendError::BoxEnded { why: "it took too long to switch itself off".to_owned() };
    timeout(grace.saturating_add(SWITCH_OFF.min(limit)), off).await.unwrap_or_else(|_| Err(late()))
}

/// Removes all of it; fine if it is gone.
pub(crate) fn remove(parts: &Parts, record: &BoxRecord) -> Result<(), BackendError> {
    let folder = Folder(record);
    folder.clear_machine(parts).and_then(|()| folder.remove_disk()).map_err(step("remove", record))
}

/// Its machine, where it runs.
pub(crate) fn running(record: &BoxRecord) -> Result<Option<(Machine, Isolation)>, BackendError> {
    let instance = Folder(record).read_instance().map_err(step("look at", record))?;
    let Some(Instance { machine, isolation }) = instance else { return Ok(None) };
    let found = Machine::find(&machine, None).map_err(step("look at", record))?;
    Ok(found.map(|machine| (machine, isolation)))
}

/// The same, for what only one that runs can do.
pub(crate) fn machine(record: &BoxRecord) -> Result<Machine, BackendError> {
    let stopped = || BackendError::WrongPhase {
        name: record.name.to_string(),
        source: PhaseError { phase: Phase::Stopped, action: Action::Use },
    };
    running(record)?.map(|(machine, _)| machine).ok_or_else(stopped)
}

/// The way in.
pub(crate) async fn connect(parts: &Parts, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError> {
    Ok(AgentGuest::connect(start::connect(&machine(record)?, parts.longest_silence()).await?))
}
