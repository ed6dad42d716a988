//! Boxes without a record: noted by a lease, which names their machine before it runs.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use agentkernel_backend::{
    AgentGuest, BackendError, EndSignal, Entrance, EphemeralBox, Guest, HandOver, Lifetime, Reclaimed,
    UnspokenAgent,
};
use agentkernel_model::{Isolation, SandboxSpec};
use agentkernel_store::Lease;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::backend::Parts;
use crate::removal::remove_folder;
use crate::start::{Start, hold};
use crate::steps::Steps;
use crate::template;
use crate::vmm::{Life, Machine, MachineNote};

/// More than any note of a machine.
const LONGEST_NOTE: u64 = 64 * 1024;

/// A box of this process.
pub(crate) struct MachineBox {
    parts: Arc<Parts>,
    isolation: Isolation,
    /// `None` once it is ended or given away.
    held: Option<Held>,
}

/// What a box is to its owner.
struct Held {
    entrance: Entrance,
    /// The stream that the machine lives by.
    stream: OwnedFd,
    machine: Machine,
    lease: Lease,
    /// Keeps the image that it runs on.
    image: OwnedFd,
}

/// Starts one.
pub(crate) async fn launch(parts: &Arc<Parts>, spec: &SandboxSpec) -> Result<MachineBox, BackendError> {
    let mut steps = Steps::begin();
    // Before anything is made.
    let plan = parts.plan(spec, Lifetime::Ephemeral)?;
    let boundary = parts.equipment()?.boundary;
    let image = parts.block_image(spec).await?;
    let lease = Lease::take(&parts.leases()).map_err(noting)?;
    let folder = parts.place(lease.id());
    let start = Start {
        parts,
        plan: &plan,
        id: lease.id(),
        folder: folder.clone(),
        image: &image.path,
        disk: None,
        life: Life::WithOwner,
    };
    steps.done("plan");
    match start.run(&mut |note| write_note(&lease, note)).await {
        Ok((machine, stream)) => {
            let isolation = plan.isolation(boundary, machine.confinement());
            let held = Held {
                stream: hold(&stream)?,
                entrance: Entrance::new(UnspokenAgent::from(stream)),
                machine,
                lease,
                image: image.lease.into_fd(),
            };
            Ok(MachineBox { parts: Arc::clone(parts), isolation, held: Some(held) })
        }
        Err(error) => {
            // What can't be removed now, recovery removes by the lease.
            let removed = parts.surroundings().remove_place(lease.id()).and_then(|()| remove_folder(&folder));
            match removed {
                Ok(()) => lease.release().map_err(releasing)?,
                Err(error) => tracing::warn!(%error, "a box that failed to start was left to recovery"),
            }
            Err(error)
        }
    }
}

fn noting(source: io::Error) -> BackendError {
    BackendError::runtime("note a box", source)
}

fn releasing(source: io::Error) -> BackendError {
    BackendError::runtime("release a box's lease", source)
}

/// In place of what was noted before: a shorter note would leave the old one's end.
fn write_note(lease: &Lease, note: &MachineNote) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let bytes = serde_json::to_vec(note)?;
    // One that is killed in between leaves an empty note, and a machine of the note before it ends with its owner.
    lease.file().set_len(0)?;
    lease.file().write_all_at(&bytes, 0)
}

/// `None` where none was written, or not whole: no machine outlives that, since each ends with its owner.
fn read_note(path: &Path) -> io::Result<Option<MachineNote>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LONGEST_NOTE).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Removes what dead owners have left.
pub(crate) fn reclaim(parts: &Parts) -> Result<Reclaimed, BackendError> {
    let failed = |source| BackendError::runtime("reclaim what dead owners left", source);
    let objects = template::sweep(&parts.folder()).map_err(failed)?;
    let mut reclaimed = Reclaimed { objects };
    let entries = match std::fs::read_dir(parts.leases()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(reclaimed),
        other => other.map_err(failed)?,
    };
    let mut result = Ok(());
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        match reclaim_one(parts, &path) {
            Ok(id) => reclaimed.objects.extend(id.map(|id| format!("machine {id}"))),
            // One that fails keeps its lease and doesn't keep others from being cleaned.
            Err(error) => result = Err(failed(error)),
        }
    }
    result.map(|()| reclaimed)
}

fn reclaim_one(parts: &Parts, path: &Path) -> io::Result<Option<String>> {
    let Some(lease) = Lease::claim(path)? else { return Ok(None) };
    if let Some(note) = read_note(lease.path())? {
        Machine::end_noted(&note)?;
    }
    let id = lease.id().to_owned();
    parts.surroundings().remove_place(&id)?;
    remove_folder(&parts.place(&id))?;
    lease.release()?;
    Ok(Some(id))
}

/// What is known of a box that is handed over, beside its descriptors: the agent's stream, the lease, the machine's life
/// and the image.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Handed {
    id: String,
    isolation: Isolation,
    machine: MachineNote,
    /// What the agent has said so far.
    said: Vec<u8>,
}

/// Takes a box over that another process of this user has made.
pub(crate) fn take_over(parts: &Arc<Parts>, handed: HandOver) -> Result<MachineBox, BackendError> {
    let strange =
        |what: &str| BackendError::Invalid { what: format!("what was handed over is no machine: {what}") };
    let state: Handed = serde_json::from_value(handed.state).map_err(|error| strange(&error.to_string()))?;
    if &handed.backend != parts.name() || &state.isolation.backend != parts.name() {
        return Err(strange("it is another backend's"));
    }
    let Ok([stream, lease, life, image]) = <[OwnedFd; 4]>::try_from(handed.descriptors) else {
        return Err(strange("it has another number of descriptors"));
    };
    let failed = |source| BackendError::runtime("take a box over", source);
    let lease = Lease::adopt(&parts.leases(), &state.id, lease).map_err(failed)?;
    let machine = Machine::find(&state.machine, Some(life)).map_err(failed)?;
    let machine = machine.ok_or_else(|| BackendError::BoxEnded { why: "it ended on its way".to_owned() })?;
    let agent = UnspokenAgent::from_parts(stream, state.said).map_err(failed)?;
    let stream = agent.try_clone_fd().map_err(failed)?;
    let held = Held { entrance: Entrance::new(agent), stream, machine, lease, image };
    Ok(MachineBox { parts: Arc::clone(parts), isolation: state.isolation, held: Some(held) })
}

/// A hand-over of nothing, which nobody takes.
fn lost(parts: &Parts) -> HandOver {
    HandOver { backend: parts.name().clone(), state: serde_json::Value::Null, descriptors: Vec::new() }
}

impl Drop for MachineBox {
    /// The machine and its group end now; what else there is, recovery finds by the lease, which is free from here on.
    fn drop(&mut self) {
        let Some(Held { machine, lease, .. }) = self.held.take() else { return };
        let ended = machine.end().and_then(|()| self.parts.surroundings().remove_group(lease.id()));
        if let Err(error) = ended {
            tracing::warn!(%error, "a box that was dropped could not be ended; recovery will");
        }
    }
}

#[async_trait]
impl EphemeralBox for MachineBox {
    fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    fn guest(&self) -> Arc<dyn Guest> {
        match &self.held {
            Some(held) => held.entrance.guest(),
            // Only what takes the box by value empties it.
            None => AgentGuest::connect(tokio::io::empty()),
        }
    }

    async fn ready(&mut self) -> Result<(), BackendError> {
        let gone = || BackendError::BoxEnded { why: "it was ended or given away".to_owned() };
        self.held.as_mut().ok_or_else(gone)?.entrance.ready().await
    }

    fn end(&self) -> Option<EndSignal> {
        self.held.as_ref()?.entrance.end()
    }

    async fn hand_over(mut self: Box<Self>) -> Result<HandOver, Box<dyn EphemeralBox>> {
        let held = match self.held.take() {
            Some(held) if held.entrance.is_unspoken() => held,
            other => {
                self.held = other;
                return Err(self);
            }
        };
        let Held { entrance, stream: _, machine, lease, image } = held;
        let (machine, life) = machine.give_away();
        let (id, lease) = lease.into_parts();
        // Where that fails the stream is gone, and the box with it: nobody will take it, and recovery finds the rest.
        let parts = entrance.into_unspoken().map(UnspokenAgent::into_parts).and_then(Result::ok);
        let (Some((stream, said)), Some(life)) = (parts, life) else { return Ok(lost(&self.parts)) };
        let handed = Handed { id, isolation: self.isolation.clone(), machine, said };
        Ok(match serde_json::to_value(handed) {
            Ok(state) => HandOver {
                backend: self.parts.name().clone(),
                state,
                descriptors: vec![stream, lease, life, image],
            },
            Err(_) => lost(&self.parts),
        })
    }

    async fn destroy(mut self: Box<Self>) -> Result<(), BackendError> {
        let Some(Held { stream, machine, lease, .. }) = self.held.take() else { return Ok(()) };
        let mut steps = Steps::begin();
        // It may have ended already.
        rustix::net::shutdown(&stream, rustix::net::Shutdown::Both).ok();
        machine.end().map_err(|source| BackendError::runtime("end a machine", source))?;
        self.parts
            .surroundings()
            .remove_group(lease.id())
            .map_err(|source| BackendError::runtime("remove the limits of a machine", source))?;
        remove_folder(&self.parts.place(lease.id()))
            .map_err(|source| BackendError::runtime("remove a machine's folder", source))?;
        steps.done("clean");
        lease.release().map_err(releasing)
    }

    /// Nothing to leave: the process that took the machine over is the one it lives by.
    async fn leave(self: Box<Self>) -> Result<(), BackendError> {
        self.destroy().await
    }
}
