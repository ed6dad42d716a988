//! From what a machine is to be to one whose agent waits for its set-up.

use std::time::Duration;

use agentkernel_backend::BackendError;
use agentkernel_protocol::machine::{AGENT_PORT, needs_machine_setup};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::key::Key;
use super::making::Making;
use super::shelf::Shelf;
use crate::backend::Parts;
use crate::start::{failed, refused, silent, unreachable};
use crate::steps::Steps;
use crate::vmm::{Machine, MachineSpec, Noted, RestoreSpec, SnapshotFiles, Snapshots, VmmError};

/// The longest from the first instruction to the agent's knock: emulated machines on a busy computer are slow.
const LONGEST_BOOT: Duration = Duration::from_secs(120);

/// How long the agent of a machine may take to say that it waits, each time it is asked. The first streams to a machine that
/// has just been restored may be lost: its kernel forgets those that it had, and then may take a new one for an old one.
const PATIENCE: [Duration; 3] = [Duration::from_secs(4), Duration::from_secs(12), Duration::from_secs(30)];

/// A machine, and the stream on which its agent waits.
type Waiting = (Machine, UnixStream);

/// Restores one, or boots. Where it fails, nothing of it is left but what `noted` has noted.
pub(crate) async fn ready(
    parts: &Parts,
    mut spec: MachineSpec,
    noted: &mut Noted<'_>,
) -> Result<Waiting, BackendError> {
    let shelf = Shelf::of(&parts.folder(), parts.template_bytes());
    let (Some(snapshots), Some(shelf)) = (parts.equipment()?.vmm.snapshots(), shelf) else {
        return booted(parts, &spec, noted).await;
    };
    let key = match Key::of(&spec, snapshots) {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!(%error, "what a template would be of can't be told, so the machine boots");
            return booted(parts, &spec, noted).await;
        }
    };
    if let Some((files, is_thick)) = found(&shelf, &key) {
        let (same, restored) = restored(parts, (snapshots, files), spec, noted).await;
        match restored {
            Ok(waiting) => {
                if is_thick {
                    make_thin(shelf, key);
                }
                return Ok(waiting);
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a template could not be restored, and the machine boots");
                if let Err(error) = shelf.remove(&key.name()) {
                    tracing::warn!(%error, "a template that can't be used was left");
                }
            }
        }
        spec = same;
    }
    match shelf.begin() {
        Ok(Some(making)) => {
            let waiting = saved(parts, snapshots, &spec, (making, key.clone()), noted).await?;
            make_thin(shelf, key);
            Ok(waiting)
        }
        Ok(None) => booted(parts, &spec, noted).await,
        Err(error) => {
            tracing::warn!(%error, "no template can be made, and the machine boots");
            booted(parts, &spec, noted).await
        }
    }
}

/// In the background.
fn make_thin(shelf: Shelf, key: Key) {
    drop(tokio::task::spawn_blocking(move || {
        if let Err(error) = shelf.make_thin(&key) {
            tracing::warn!(%error, "a template takes more of the disk than it needs");
        }
    }));
}

fn found(shelf: &Shelf, key: &Key) -> Option<(SnapshotFiles, bool)> {
    shelf.find(key).unwrap_or_else(|error| {
        tracing::warn!(%error, "a template could not be looked at, and the machine boots");
        None
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text += &format!(": {error}");
        next = error.source();
    }
    text
}

/// What it was to be comes back, for another try.
async fn restored(
    parts: &Parts,
    (snapshots, snapshot): (&dyn Snapshots, SnapshotFiles),
    spec: MachineSpec,
    noted: &mut Noted<'_>,
) -> (MachineSpec, Result<Waiting, BackendError>) {
    let MachineSpec { site, drives, network, .. } = spec;
    let tap = network.as_ref().map(|network| network.tap.clone());
    let restore = RestoreSpec { site, snapshot, drives, tap, resume: true };
    let waiting = match snapshots.restore(&restore, noted).await {
        Ok(machine) => waiting(parts, machine).await,
        Err(error) => Err(failed(error)),
    };
    let RestoreSpec { site, drives, .. } = restore;
    (MachineSpec { site, drives, network, ..spec }, waiting)
}

/// From the beginning.
async fn booted(parts: &Parts, spec: &MachineSpec, noted: &mut Noted<'_>) -> Result<Waiting, BackendError> {
    waiting(parts, knocked(parts, spec, noted).await?).await
}

async fn knocked(parts: &Parts, spec: &MachineSpec, noted: &mut Noted<'_>) -> Result<Machine, BackendError> {
    let started = parts.equipment()?.vmm.start(spec, noted).await.map_err(failed)?;
    let (machine, _knock) = started.ready(LONGEST_BOOT).await.map_err(failed)?;
    Ok(machine)
}

/// From the beginning, and kept for those that come later.
async fn saved(
    parts: &Parts,
    snapshots: &dyn Snapshots,
    spec: &MachineSpec,
    (making, key): (Making, Key),
    noted: &mut Noted<'_>,
) -> Result<Waiting, BackendError> {
    let machine = knocked(parts, spec, noted).await?;
    match making.has_room(spec.memory.bytes()) {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!("the disk has no room for a template of this machine");
            return waiting(parts, machine).await;
        }
        Err(error) => {
            tracing::warn!(%error, "no template can be made");
            return waiting(parts, machine).await;
        }
    }
    let usable = match save(snapshots, &machine, making, key).await {
        Ok(()) => waiting(parts, machine).await,
        Err(error) => {
            machine.end().map_err(|source| BackendError::runtime("end a machine", source))?;
            Err(failed(error))
        }
    };
    match usable {
        Ok(waiting) => Ok(waiting),
        // It stood still to be saved, and does not go on as it should.
        Err(error) => {
            tracing::warn!(error = %chain(&error), "a machine did not outlive being saved, and is started again");
            booted(parts, spec, noted).await
        }
    }
}

/// An error is one of the machine; that it could not be saved is only said.
async fn save(
    snapshots: &dyn Snapshots,
    machine: &Machine,
    making: Making,
    key: Key,
) -> Result<(), VmmError> {
    snapshots.pause(machine).await?;
    let taken = snapshots.take(machine).await;
    // Before the machine may write them again.
    let adopted = taken
        .map_err(|error| chain(&error))
        .and_then(|files| making.adopt(&files).map_err(|error| format!("move its files: {error}")));
    snapshots.resume(machine).await?;
    match adopted {
        Ok(adopted) => {
            if let Err(error) = adopted.finish(key) {
                tracing::warn!(%error, "a template could not be finished");
            }
        }
        Err(error) => tracing::warn!(error, "a machine could not be saved as a template"),
    }
    Ok(())
}

/// The agent's own word that it waits; the machine is ended where it doesn't come.
async fn waiting(parts: &Parts, machine: Machine) -> Result<Waiting, BackendError> {
    let mut asked = Err(silent(parts.longest_silence()));
    for patience in PATIENCE {
        let patience = patience.min(parts.longest_silence());
        asked = timeout(patience, ask(&machine)).await.unwrap_or_else(|_| Err(silent(patience)));
        match &asked {
            Err(BackendError::BoxEnded { .. }) if machine.lives() => {}
            _ => break,
        }
    }
    match asked {
        Ok(stream) => Ok((machine, stream)),
        Err(error) => {
            let error = crate::start::explain(error, &machine);
            machine.end().map_err(|source| BackendError::runtime("end a machine", source))?;
            Err(error)
        }
    }
}

async fn ask(machine: &Machine) -> Result<UnixStream, BackendError> {
    let longest = PATIENCE.iter().max().copied().unwrap_or_default();
    let mut steps = Steps::begin();
    let mut stream = machine.connect(AGENT_PORT, longest).await.map_err(unreachable)?;
    steps.done("connect");
    let needs = needs_machine_setup(&mut stream).await;
    steps.done("agent");
    match needs {
        Ok(true) => Ok(stream),
        Ok(false) => Err(BackendError::HostileGuest { what: "a new machine that is set up".to_owned() }),
        Err(error) => Err(refused(error)),
    }
}
