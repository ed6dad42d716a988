//! From a request to an agent that serves: what one-shot boxes and lasting ones have in common.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentkernel_backend::{BackendError, Lifetime};
use agentkernel_model::{Feature, ImageId, Isolation, NetworkAccess, SandboxSpec};
use agentkernel_protocol::{GateError, Setup, needs_setup, send_setup};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::backend::Parts;
use crate::connection::Connected;
use crate::container::{Plan, discarded};
use crate::door::{Met, Waiting};
use crate::failure::{clean, failed, status, unless_missing, words};
use crate::folder::Folder;
use crate::owner::container_name;
use crate::program::Way;
use crate::settle::settle;
use crate::{EngineKind, far, network, places, program, seccomp};

/// After this long without a sign of the agent, the engine is asked whether its container has ended.
const USUAL_START: Duration = Duration::from_millis(1500);

/// The longest that an agent may take.
const LONGEST_START: Duration = Duration::from_secs(60);

/// How often a start is tried where our network is missing: each of several processes that find none may make one.
pub(crate) const NETWORK_STARTS: usize = 6;

/// A box that is being made or started.
pub(crate) struct Boot<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) engine: &'a Connected,
    pub(crate) spec: &'a SandboxSpec,
    pub(crate) id: &'a str,
    /// `None` for a one-shot box.
    pub(crate) name: Option<&'a str>,
    pub(crate) folder: &'a Folder,
    /// Limits that are let go.
    pub(crate) waived: Vec<Feature>,
    /// A start failed only because our network wasn't there, and now it is. The engine has removed a one-shot box's
    /// container then: it has to be made anew.
    pub(crate) again: AtomicBool,
}

/// What a container turned out to be.
#[derive(Debug)]
pub(crate) struct Created {
    /// The engine's id.
    pub(crate) container: String,
    pub(crate) isolation: Isolation,
}

impl<'a> Boot<'a> {
    /// Checks the request; nothing is made yet.
    pub(crate) fn new(
        parts: &'a Parts,
        engine: &'a Connected,
        spec: &'a SandboxSpec,
        id: &'a str,
        name: Option<&'a str>,
        folder: &'a Folder,
    ) -> Result<Self, BackendError> {
        let lifetime = if name.is_some() { Lifetime::Persistent } else { Lifetime::Ephemeral };
        let waived = parts.check(engine, spec, lifetime)?;
        Ok(Self { parts, engine, spec, id, name, folder, waived, again: AtomicBool::new(false) })
    }

    pub(crate) fn way(&self) -> Way {
        self.parts.way(self.engine)
    }

    fn has_network(&self) -> bool {
        self.spec.network == NetworkAccess::On
    }

    /// Makes the container.
    pub(crate) async fn create(&mut self) -> Result<Created, BackendError> {
        let door = self.folder.door();
        let far = match self.way() {
            Way::Door => None,
            Way::Engine => Some(far::program_volume(self.parts, self.engine, self.spec, self.id).await?),
        };
        let program = match &far {
            Some(volume) => volume.clone(),
            None => text(self.parts.agent()?)?.to_owned(),
        };
        text(&door)?;
        let seccomp = self.seccomp()?;
        let plan = self.plan(&program, &door, seccomp);
        let request = plan.request()?;
        let name = container_name(self.id);
        let options = || Some(CreateContainerOptionsBuilder::default().name(&name).build());
        let docker = &self.engine.docker;
        let mut answer = docker.create_container(options(), request.clone()).await;
        if self.has_network() && answer.as_ref().is_err_and(network::is_missing) {
            network::create(self.engine).await?;
            answer = docker.create_container(options(), request).await;
        }
        let answer = answer.map_err(|error| self.explain(error))?;
        let isolation = |waived: &[Feature]| plan.isolation(waived);
        let let_go = discarded(&answer.warnings);
        if !let_go.is_empty() && !self.spec.allow_unlimited {
            remove(self.engine, &answer.id).await?;
            let names: Vec<&str> = let_go.iter().map(|(feature, _)| feature.as_str()).collect();
            let why: Vec<&str> = let_go.iter().map(|(_, why)| *why).collect();
            return Err(BackendError::Unsupported {
                backend: self.parts.name.to_string(),
                what: names.join(" and "),
                fix: format!("{}, or let limits go with --allow-unlimited", why.join("; ")),
            });
        }
        let mut waived = self.waived.clone();
        waived.extend(let_go.into_iter().map(|(feature, _)| feature));
        let isolation = isolation(&waived);
        self.waived = waived;
        Ok(Created { container: answer.id, isolation })
    }

    /// Starts the container.
    pub(crate) async fn start(&self, container: &str) -> Result<(), BackendError> {
        let docker = &self.engine.docker;
        self.check_places(container).await?;
        let mut started = docker.start_container(container, None).await;
        for _ in 1..NETWORK_STARTS {
            if !self.has_network() || !started.as_ref().is_err_and(network::is_missing) {
                break;
            }
            network::create(self.engine).await?;
            if self.name.is_none() {
                self.again.store(true, Ordering::Relaxed);
                break;
            }
            started = docker.start_container(container, None).await;
        }
        started.map_err(|error| self.explain(error))
    }

    /// Before every start, since what ran in a lasting box may have changed it; a fresh one is as its image.
    async fn check_places(&self, container: &str) -> Result<(), BackendError> {
        let image = self.spec.image_id.as_ref();
        let as_image = image.filter(|_| self.name.is_none() && self.spec.mounts.is_empty());
        if as_image.is_some_and(|image| places::is_known_good(self.parts, image)) {
            return Ok(());
        }
        places::check(self.engine, container, self.way()).await?;
        if let Some(image) = as_image {
            places::remember_good(self.parts, image);
        }
        Ok(())
    }

    /// What it would get, for a container that was made by another process.
    pub(crate) fn isolation(&self) -> Isolation {
        self.plan("", Path::new(""), None).isolation(&self.waived)
    }

    fn plan<'b>(&'b self, program: &'b str, door: &'b Path, seccomp: Option<String>) -> Plan<'b> {
        Plan {
            facts: &self.engine.facts,
            spec: self.spec,
            id: self.id,
            name: self.name,
            owner: &self.parts.owner,
            way: self.way(),
            runtime: self.engine.runtime.as_deref(),
            seccomp,
            program,
            door,
        }
    }

    /// Docker takes the filter as text, Podman as the path of a file of its machine's.
    fn seccomp(&self) -> Result<Option<String>, BackendError> {
        let profile = seccomp::profile(program::filter(self.spec), self.has_network())
            .map_err(|source| BackendError::runtime("write the filter of system calls", source))?;
        match (self.parts.kind, self.engine.facts.local) {
            (EngineKind::Docker, _) => Ok(Some(profile)),
            (EngineKind::Podman, false) => Ok(None),
            (EngineKind::Podman, true) => {
                let name = format!("seccomp-{:?}-{}.json", program::filter(self.spec), self.has_network());
                let path = self.parts.folder().join(name.to_lowercase());
                put(&path, profile.as_bytes())
                    .map_err(|source| BackendError::runtime(format!("write {}", path.display()), source))?;
                Ok(Some(text(&path)?.to_owned()))
            }
        }
    }

    /// What the agent has to do before it serves, so far as that is known while the container is being started: `None`
    /// where its network is only being made.
    pub(crate) async fn early_setup(&self) -> Result<Option<Setup>, BackendError> {
        let network_filter = match self.spec.network {
            NetworkAccess::None => Some(Vec::new()),
            NetworkAccess::On => network::filter(self.engine).await?,
        };
        let system_call_filter = program::filter(self.spec).program_bytes();
        Ok(network_filter.map(|network_filter| Setup { network_filter, system_call_filter }))
    }

    /// The same of a container that runs.
    pub(crate) async fn setup(&self) -> Result<Setup, BackendError> {
        let gone = || BackendError::runtime("secure the sandbox", "its network is gone from the engine");
        self.early_setup().await?.ok_or_else(gone)
    }

    /// What was known early, or what is known now.
    pub(crate) async fn complete(&self, early: Option<Setup>) -> Result<Setup, BackendError> {
        match early {
            Some(setup) => Ok(setup),
            None => self.setup().await,
        }
    }

    /// Waits for the agent at the door, or for its container's end.
    pub(crate) async fn meet(
        &self,
        waiting: &Waiting,
        container: &str,
        agent: Option<u32>,
    ) -> Result<Met, BackendError> {
        let failed = |source| BackendError::runtime("wait for the sandbox's agent", source);
        if let Ok(met) = timeout(USUAL_START, waiting.accept(agent)).await {
            return met.map_err(failed);
        }
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut ended = self.engine.docker.wait_container(container, Some(options)).boxed();
        let end = |why: &str| BackendError::BoxEnded { why: why.to_owned() };
        let met = timeout(LONGEST_START, async {
            tokio::select! {
                met = waiting.accept(agent) => met.map_err(failed),
                _ = ended.next() => Err(end("its container ended before its agent said anything")),
            }
        });
        met.await.unwrap_or_else(|_| Err(end("its agent said nothing for a minute")))
    }

    fn explain(&self, error: bollard::errors::Error) -> BackendError {
        let said = words(&error);
        if status(&error) == Some(404) && said.to_lowercase().contains("image") {
            return BackendError::NotFound {
                what: format!("image {} in {}", self.spec.image, self.parts.kind.title()),
            };
        }
        failed(format!("start a container of {}", self.parts.kind.title()))(error)
    }
}

/// Lets the agent do its set-up, where it still has to.
pub(crate) async fn pass_gate<S>(
    stream: &mut S,
    setup: impl Future<Output = Result<Setup, BackendError>>,
) -> Result<(), BackendError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let refused = |error: GateError| match error {
        GateError::Stream { source } => {
            BackendError::BoxEnded { why: format!("its agent went away: {source}") }
        }
        GateError::Refused { reason } => BackendError::runtime("secure the sandbox", reason),
        GateError::Unknown { .. } => BackendError::HostileGuest { what: error.to_string() },
    };
    let passing = async {
        if !needs_setup(stream).await.map_err(refused)? {
            return Ok(());
        }
        let setup = setup.await?;
        send_setup(stream, &setup).await.map_err(refused)
    };
    let silent = || BackendError::BoxEnded { why: "its agent said nothing for a minute".to_owned() };
    timeout(LONGEST_START, passing).await.unwrap_or_else(|_| Err(silent()))
}

/// The container of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The engine's id.
    pub(crate) container: String,
    pub(crate) runs: bool,
    /// Its first process on the engine's machine, where it runs.
    pub(crate) pid: Option<u32>,
}

/// What is read of an engine's description of a container. The API's client insists on Docker's words for states, and
/// Podman has some of its own.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Described {
    id: String,
    state: State,
    config: Config,
    #[serde(default)]
    mounts: Vec<MountPoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MountPoint {
    #[serde(default)]
    destination: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    pid: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<HashMap<String, String>>,
}

pub(crate) async fn describe(engine: &Connected, name: &str) -> Result<Option<Described>, BackendError> {
    const STEP: &str = "look for a container";
    let odd = |source: serde_json::Error| BackendError::runtime(STEP, source);
    match engine.get(&format!("/containers/{name}/json")).await {
        Some(answer) => {
            let answer = answer.map_err(|source| BackendError::runtime(STEP, source))?;
            match answer.status {
                200 => serde_json::from_slice(&answer.body).map(Some).map_err(odd),
                404 => Ok(None),
                status => {
                    let said = clean(&String::from_utf8_lossy(&answer.body));
                    // Podman, of one that goes at this moment.
                    if said.contains("no such container") {
                        return Ok(None);
                    }
                    Err(BackendError::runtime(STEP, format!("the engine answered {status}: {said}")))
                }
            }
        }
        None => {
            let inspected = engine.docker.inspect_container(name, None).await;
            let Some(inspected) = unless_missing(inspected).map_err(failed(STEP))? else { return Ok(None) };
            let value = serde_json::to_value(inspected).map_err(odd)?;
            serde_json::from_value(value).map(Some).map_err(odd)
        }
    }
}

/// The container of box `id`: it has the whole id in its name, and our labels say that it is ours.
pub(crate) async fn find(parts: &Parts, engine: &Connected, id: &str) -> Result<Option<Found>, BackendError> {
    let Some(described) = describe(engine, &container_name(id)).await? else { return Ok(None) };
    if !parts.owner.owns(id, described.config.labels.as_ref()) {
        return Ok(None);
    }
    let runs = described.state.running || described.state.paused;
    let pid = u32::try_from(described.state.pid).ok().filter(|pid| *pid != 0 && runs);
    Ok(Some(Found { container: described.id, runs, pid }))
}

/// Where files are mounted in `container`: the user's, ours, and what its image declares.
pub(crate) async fn mount_points(engine: &Connected, container: &str) -> Result<Vec<String>, BackendError> {
    let described = describe(engine, container).await?;
    let mounts = described.map(|described| described.mounts).unwrap_or_default();
    Ok(mounts.into_iter().map(|mount| mount.destination).collect())
}

/// Removes every container of box `id`; returns whether there was one. `doubt`: what the box was going to start from, where
/// a dead process may have asked for it and nobody has heard the answer.
pub(crate) async fn remove_all(
    parts: &Parts,
    engine: &Connected,
    id: &str,
    doubt: Option<&ImageId>,
) -> Result<bool, BackendError> {
    let mut ids = vec![id.to_owned()];
    // One that only carried the agent's program to the engine.
    ids.extend((parts.way(engine) == Way::Engine).then(|| far::carrier_id(id)));
    let mut found = false;
    for id in ids {
        let mut there = find(parts, engine, &id).await?;
        if let (None, Some(image)) = (&there, doubt) {
            settle(parts, engine, &id, image).await?;
            there = find(parts, engine, &id).await?;
        }
        if let Some(Found { container, .. }) = there {
            remove(engine, &container).await?;
            found = true;
        }
    }
    Ok(found)
}

/// Removes a container with its anonymous volumes, running or not; fine if it is gone or going.
pub(crate) async fn remove(engine: &Connected, container: &str) -> Result<(), BackendError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match engine.docker.remove_container(container, Some(options)).await {
        Err(error) if is_going(&error) => gone(engine, container).await,
        other => unless_missing(other).map(drop).map_err(failed("remove a container")),
    }
}

/// Whether a container can't be removed because somebody does so already: Docker says that it is in progress, Podman that
/// it can't be stopped any more.
fn is_going(error: &bollard::errors::Error) -> bool {
    status(error) == Some(409) || words(error).contains("could not be stopped")
}

/// Waits until a container is removed by the engine itself.
pub(crate) async fn gone(engine: &Connected, container: &str) -> Result<(), BackendError> {
    let options = WaitContainerOptionsBuilder::default().condition("removed").build();
    let mut end = engine.docker.wait_container(container, Some(options)).boxed();
    match end.next().await {
        Some(Err(error)) if matches!(status(&error), Some(status) if status != 404) => {
            Err(failed("wait for a container's end")(error))
        }
        // Its exit status is of no interest, and one that isn't there has gone.
        _ => Ok(()),
    }
}

fn text(path: &Path) -> Result<&str, BackendError> {
    path.to_str().ok_or_else(|| BackendError::Invalid {
        what: format!(
            "{} is not UTF-8, so an engine can't be told of it; choose another --state-dir",
            path.display()
        ),
    })
}

/// Writes a file whole, where it isn't there already with the same content.
fn put(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    // Two boxes that start at the same time, also in one process, write it both.
    let fresh = path.with_extension(agentkernel_store::random_id()?);
    std::fs::write(&fresh, content)?;
    std::fs::rename(fresh, path)
}
