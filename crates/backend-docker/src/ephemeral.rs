//! Boxes without a record: noted by a lease, removed by the engine itself when their agent ends, which it does with its
//! owner's stream.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkernel_backend::{
    AgentGuest, BackendError, EndSignal, Entrance, EphemeralBox, Guest, HandOver, Reclaimed, UnspokenAgent,
};
use agentkernel_model::{ImageId, Isolation, SandboxSpec};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::EngineKind;
use crate::address::Address;
use crate::backend::Parts;
use crate::boot::{self, Boot, Created, pass_gate};
use crate::connection::{Connected, NotReady};
use crate::door::Waiting;
use crate::far;
use crate::folder::Folder;
use crate::lease::{self, Lease};
use crate::note::{Note, Noted};
use crate::program::Way;

/// How long an engine may take to remove a container whose first process has ended, before it is told to.
const REMOVAL: Duration = Duration::from_secs(20);

/// How long an engine that a dead owner used is waited for: whoever waits wants something else.
const RECLAIM_PATIENCE: Duration = Duration::from_secs(3);

/// A box of this process.
pub(crate) struct EngineBox {
    parts: Arc<Parts>,
    engine: Arc<Connected>,
    container: String,
    isolation: Isolation,
    /// `None` once it is given away.
    entrance: Option<Entrance>,
    /// The stream that the box lives by, where it is of this machine.
    stream: Option<OwnedFd>,
    /// `None` once it is released or given away.
    lease: Option<Lease>,
}

/// Starts one.
pub(crate) async fn launch(parts: &Arc<Parts>, spec: &SandboxSpec) -> Result<EngineBox, BackendError> {
    let engine = parts.engine().await?;
    // Before anything is made.
    parts.check(engine, spec, agentkernel_backend::Lifetime::Ephemeral)?;
    parts.prepare(engine).map_err(|source| BackendError::runtime("prepare the state folder", source))?;
    let lease = Lease::take(&parts.leases(), &engine.note(spec.image_id.as_ref())).map_err(noting)?;
    let folder = Folder::new(parts.boxes().join(lease.id()));
    match start(parts, engine, spec, &lease, &folder).await {
        Ok(started) => {
            let Started { created, entrance, stream } = started;
            let Created { container, isolation } = created;
            Ok(EngineBox {
                parts: Arc::clone(parts),
                engine: Arc::clone(engine),
                container,
                isolation,
                entrance: Some(entrance),
                stream,
                lease: Some(lease),
            })
        }
        Err(error) => {
            // What can't be removed now, recovery removes by the lease.
            match remove(parts, engine, lease.id(), None).await {
                Ok(_) => release(lease)?,
                Err(error) => {
                    tracing::warn!(%error, "a box that failed to start was left to recovery");
                    lease.abandon();
                }
            }
            Err(error)
        }
    }
}

struct Started {
    created: Created,
    entrance: Entrance,
    stream: Option<OwnedFd>,
}

async fn start(
    parts: &Parts,
    engine: &Connected,
    spec: &SandboxSpec,
    lease: &Lease,
    folder: &Folder,
) -> Result<Started, BackendError> {
    folder.make().map_err(|source| BackendError::runtime("make a box's folder", source))?;
    let mut boot = Boot::new(parts, engine, spec, lease.id(), None, folder)?;
    let mut started = start_once(&mut boot, lease).await;
    for _ in 1..boot::NETWORK_STARTS {
        if started.is_ok() || !boot.again.swap(false, Ordering::Relaxed) {
            break;
        }
        boot::remove_all(parts, engine, lease.id(), None).await?;
        started = start_once(&mut boot, lease).await;
    }
    started
}

fn noting(source: std::io::Error) -> BackendError {
    BackendError::runtime("note a box", source)
}

/// Makes the container; the lease says at every moment whether it may be under way.
async fn create(boot: &mut Boot<'_>, lease: &Lease) -> Result<Created, BackendError> {
    lease.ask().map_err(noting)?;
    let created = boot.create().await;
    lease.answer().map_err(noting)?;
    created
}

async fn start_once(boot: &mut Boot<'_>, lease: &Lease) -> Result<Started, BackendError> {
    let engine = boot.engine;
    if boot.way() == Way::Engine {
        let created = create(boot, lease).await?;
        let mut stream = far::attach(engine, &created.container).await?;
        boot.start(&created.container).await?;
        far::pass(&mut stream, boot).await?;
        return Ok(Started {
            created,
            entrance: Entrance::spoken(AgentGuest::connect(stream)),
            stream: None,
        });
    }
    let waiting =
        Waiting::open(boot.folder).map_err(|source| BackendError::runtime("make a box's folder", source))?;
    let created = create(boot, lease).await?;
    // What the agent will be told is found out while the engine works.
    let setup = boot.early_setup();
    let met = async {
        boot.start(&created.container).await?;
        boot.meet(&waiting, &created.container, None).await
    };
    let (setup, mut met) = tokio::try_join!(setup, met)?;
    pass_gate(&mut met.stream, boot.complete(setup)).await?;
    let stream = met.stream.as_fd().try_clone_to_owned();
    let stream = stream.map_err(|source| BackendError::runtime("hold a box's stream", source))?;
    Ok(Started { created, entrance: Entrance::new(met.stream.into()), stream: Some(stream) })
}

/// Removes the container and the folder of box `id`; returns what was there.
async fn remove(
    parts: &Parts,
    engine: &Connected,
    id: &str,
    doubt: Option<&ImageId>,
) -> Result<Vec<String>, BackendError> {
    let mut removed = Vec::new();
    if boot::remove_all(parts, engine, id, doubt).await? {
        removed.push(format!("container {}", crate::owner::container_name(id)));
    }
    remove_folder(parts, id)?;
    Ok(removed)
}

fn remove_folder(parts: &Parts, id: &str) -> Result<(), BackendError> {
    match std::fs::remove_dir_all(parts.boxes().join(id)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BackendError::runtime("remove a box's folder", error))
        }
        _ => Ok(()),
    }
}

fn release(lease: Lease) -> Result<(), BackendError> {
    lease.release().map_err(|source| BackendError::runtime("release a box's lease", source))
}

/// Removes what one dead owner has left, from the engine that it noted; `None` where that one is away. `away`: those that
/// are, so that each is waited for but once.
async fn reclaim_one(
    parts: &Parts,
    lease: &Lease,
    away: &mut Vec<Address>,
) -> Result<Option<Vec<String>>, BackendError> {
    let noted = lease.noted().map_err(|source| BackendError::runtime("read a box's lease", source))?;
    let Some(Noted { note, in_doubt }) = noted else {
        return remove_folder(parts, lease.id()).map(|()| Some(Vec::new()));
    };
    if away.contains(&note.address) {
        return Ok(None);
    }
    let late = || NotReady { why: "it is silent".to_owned(), fix: String::new() };
    let engine = timeout(RECLAIM_PATIENCE, parts.noted(&note)).await;
    match engine.unwrap_or_else(|_| Err(late())) {
        Ok(engine) => {
            let doubt = note.image.as_ref().filter(|_| in_doubt);
            remove(parts, &engine, lease.id(), doubt).await.map(Some)
        }
        Err(NotReady { why, .. }) => {
            tracing::debug!(id = lease.id(), why, "a dead owner's box is left for later");
            away.push(note.address);
            Ok(None)
        }
    }
}

/// Removes what dead owners have left. Without any, no engine is asked.
pub(crate) async fn reclaim(parts: &Parts) -> Result<Reclaimed, BackendError> {
    let orphans = lease::orphans(&parts.leases())
        .map_err(|source| BackendError::runtime("look for what dead owners left", source))?;
    let mut reclaimed = Reclaimed::default();
    let mut result = Ok(());
    let mut away = Vec::new();
    for lease in orphans {
        let id = lease.id().to_owned();
        match reclaim_one(parts, &lease, &mut away).await {
            Ok(Some(removed)) if removed.is_empty() => reclaimed.objects.push(format!("box {id}")),
            Ok(Some(removed)) => reclaimed.objects.extend(removed),
            Ok(None) => {
                lease.abandon();
                continue;
            }
            // One that fails keeps its lease and doesn't keep others from being cleaned.
            Err(error) => {
                lease.abandon();
                result = Err(error);
                continue;
            }
        }
        release(lease)?;
    }
    result.map(|()| reclaimed)
}

/// What is known of a box that is handed over, beside the agent's stream and the lease.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Handed {
    id: String,
    container: String,
    isolation: Isolation,
    /// What the agent has said so far.
    said: Vec<u8>,
}

/// Takes a box over that another process has made on the same engine.
pub(crate) async fn take_over(parts: &Arc<Parts>, handed: HandOver) -> Result<EngineBox, BackendError> {
    let strange = |what: &str| BackendError::Invalid {
        what: format!("what was handed over is no box of {}: {what}", parts.kind.title()),
    };
    let state: Handed = serde_json::from_value(handed.state).map_err(|error| strange(&error.to_string()))?;
    if handed.backend != parts.name || state.isolation.backend != parts.name {
        return Err(strange("it is another backend's"));
    }
    if state.container.is_empty() || !state.container.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(strange("its container has no name"));
    }
    let Ok([stream, lease]) = <[OwnedFd; 2]>::try_from(handed.descriptors) else {
        return Err(strange("it has another number of descriptors"));
    };
    let failed = |source| BackendError::runtime("take a box over", source);
    let lease = Lease::adopt(&parts.leases(), &state.id, lease).map_err(failed)?;
    let noted = lease.noted().map_err(failed)?.ok_or_else(|| strange("its lease says nothing"))?;
    let engine = parts.engine().await?;
    // The image is for recovery alone.
    if (Note { image: None, ..noted.note }) != engine.note(None) {
        return Err(strange("it was made on another engine or by another runtime"));
    }
    let agent = UnspokenAgent::from_parts(stream, state.said).map_err(failed)?;
    let copy = agent.try_clone_fd().map_err(failed)?;
    Ok(EngineBox {
        parts: Arc::clone(parts),
        engine: Arc::clone(engine),
        container: state.container,
        isolation: state.isolation,
        entrance: Some(Entrance::new(agent)),
        stream: Some(copy),
        lease: Some(lease),
    })
}

impl EngineBox {
    /// Ends the agent, and so the container.
    fn hang_up(&self) {
        if let Some(stream) = &self.stream {
            // It may have ended already.
            rustix::net::shutdown(stream, rustix::net::Shutdown::Both).ok();
        }
    }
}

#[async_trait]
impl EphemeralBox for EngineBox {
    fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    fn guest(&self) -> Arc<dyn Guest> {
        match &self.entrance {
            Some(entrance) => entrance.guest(),
            // Only what takes the box by value empties it.
            None => AgentGuest::connect(tokio::io::empty()),
        }
    }

    async fn ready(&mut self) -> Result<(), BackendError> {
        match &mut self.entrance {
            Some(entrance) => entrance.ready().await,
            None => Ok(()),
        }
    }

    fn end(&self) -> Option<EndSignal> {
        self.entrance.as_ref()?.end()
    }

    async fn hand_over(mut self: Box<Self>) -> Result<HandOver, Box<dyn EphemeralBox>> {
        let (Some(entrance), Some(lease)) = (self.entrance.take(), self.lease.take()) else {
            return Err(self);
        };
        if self.stream.is_none() || !entrance.is_unspoken() {
            (self.entrance, self.lease) = (Some(entrance), Some(lease));
            return Err(self);
        }
        let parts = entrance.into_unspoken().map(UnspokenAgent::into_parts);
        let (id, lease) = lease.into_parts();
        let isolation = self.isolation.clone();
        let container = self.container.clone();
        let packed = parts.and_then(Result::ok).and_then(|(stream, said)| {
            let state = serde_json::to_value(Handed { id, container, isolation, said }).ok()?;
            Some((state, vec![stream, lease]))
        });
        // Where that failed the stream is gone, and the box with it: nobody will take it, and recovery finds the rest.
        let (state, descriptors) = packed.unwrap_or_default();
        Ok(HandOver { backend: self.parts.name.clone(), state, descriptors })
    }

    async fn destroy(mut self: Box<Self>) -> Result<(), BackendError> {
        let engine = &self.engine;
        // Podman looks only four times a second whether a container is gone by itself.
        let by_itself = self.stream.is_some() && self.parts.kind == EngineKind::Docker;
        let gone = match by_itself {
            true => {
                self.hang_up();
                timeout(REMOVAL, boot::gone(engine, &self.container)).await.ok()
            }
            false => None,
        };
        match gone {
            Some(gone) => gone?,
            None => boot::remove(engine, &self.container).await?,
        }
        self.hang_up();
        match self.lease.take() {
            None => Ok(()),
            Some(lease) => {
                remove_folder(&self.parts, lease.id())?;
                release(lease)
            }
        }
    }

    /// The engine's removal is what takes long, and it is asked for here in any case.
    async fn leave(self: Box<Self>) -> Result<(), BackendError> {
        self.destroy().await
    }
}

impl Drop for EngineBox {
    /// Processes end now; what else there is, recovery finds by the lease, which is free from here on.
    fn drop(&mut self) {
        if self.lease.is_some() {
            self.hang_up();
        }
    }
}
