//! Sandboxes with a record: a container that is stopped and not removed, found by its labels and by the record.

use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{AgentGuest, BackendError, BoxRecord, Guest, ask_to_end};
use agentkernel_model::{Action, ImageId, Isolation, Phase, PhaseError};
use bollard::query_parameters::StopContainerOptionsBuilder;

use crate::backend::Parts;
use crate::boot::{self, Boot, Created, Found, pass_gate};
use crate::connection::{Connected, NotReady};
use crate::door::Waiting;
use crate::failure::{failed, status};
use crate::far;
use crate::folder::{Agent, Folder, Instance};
use crate::note::{self, Noted};
use crate::program::Way;

fn boot<'a>(
    parts: &'a Parts,
    engine: &'a Connected,
    record: &'a BoxRecord,
    folder: &'a Folder,
) -> Result<Boot<'a>, BackendError> {
    Boot::new(parts, engine, &record.spec, &record.id, Some(record.name.as_str()), folder)
}

fn step(verb: &str, record: &BoxRecord) -> impl FnOnce(std::io::Error) -> BackendError + use<> {
    let action = format!("{verb} sandbox {}", record.name);
    move |source| BackendError::runtime(action, source)
}

/// What is known of the engine that a sandbox was made on.
struct Known {
    engine: Arc<Connected>,
    noted: Noted,
}

impl Known {
    /// What the sandbox starts from, where a dead process may have asked for its container.
    fn doubt(&self) -> Option<&ImageId> {
        self.noted.note.image.as_ref().filter(|_| self.noted.in_doubt)
    }
}

/// The engine that the sandbox was made on, whatever is named now; `None` where it never came to that.
async fn known(parts: &Parts, record: &BoxRecord) -> Result<Option<Known>, BackendError> {
    let file = Folder::new(&record.dir).note();
    let noted = file
        .read()
        .map_err(|source| BackendError::runtime(format!("read {}", file.path().display()), source))?;
    let Some(noted) = noted else { return Ok(None) };
    let engine = parts.noted(&noted.note).await.map_err(|NotReady { why, fix }| {
        let title = parts.kind.title();
        let file = file.path().display();
        let fix = format!("{fix}; if that {title} is gone for good, delete {file} and remove the sandbox");
        parts.unavailable(NotReady { why, fix })
    })?;
    Ok(Some(Known { engine, noted }))
}

/// The same, of a sandbox that was made.
async fn engine(parts: &Parts, record: &BoxRecord) -> Result<Arc<Connected>, BackendError> {
    known(parts, record).await?.map(|known| known.engine).ok_or_else(|| missing(record))
}

fn missing(record: &BoxRecord) -> BackendError {
    BackendError::NotFound {
        what: format!(
            "the container of sandbox {:?} (somebody has removed it, with its files: remove the sandbox, too)",
            record.name.as_str()
        ),
    }
}

/// Makes the container; fine if it is there.
pub(crate) async fn create(parts: &Parts, record: &BoxRecord) -> Result<(), BackendError> {
    let known = known(parts, record).await?;
    let engine = match &known {
        Some(known) => &known.engine,
        None => parts.engine().await?,
    };
    let folder = Folder::new(&record.dir);
    let mut boot = boot(parts, engine, record, &folder)?;
    parts.prepare(engine).map_err(step("make", record))?;
    folder.make().map_err(step("make", record))?;
    let note = folder.note();
    match &known {
        None => note.write(&engine.note(record.spec.image_id.as_ref())).map_err(step("make", record))?,
        // Whether that one was made as asked is not known.
        Some(known) if known.noted.in_doubt => {
            boot::remove_all(parts, engine, &record.id, known.doubt()).await?;
        }
        Some(_) if boot::find(parts, engine, &record.id).await?.is_some() => return Ok(()),
        Some(_) => {}
    }
    note.open().and_then(note::ask).map_err(step("make", record))?;
    let created = boot.create().await;
    note.open().and_then(note::answer).map_err(step("make", record))?;
    created.map(drop)
}

/// Starts it; fine if it runs.
pub(crate) async fn start(parts: &Parts, record: &BoxRecord) -> Result<Isolation, BackendError> {
    if let Some(isolation) = running(parts, record).await? {
        return Ok(isolation);
    }
    let engine = &*engine(parts, record).await?;
    let folder = Folder::new(&record.dir);
    let boot = boot(parts, engine, record, &folder)?;
    let found = boot::find(parts, engine, &record.id).await?;
    let container = found.ok_or_else(|| missing(record))?.container;
    folder.make().and_then(|()| folder.remove_instance()).map_err(step("start", record))?;
    let created = Created { container, isolation: boot.isolation() };
    let started = start_container(&boot, &created, record).await;
    if started.is_err()
        && let Err(error) = halt(engine, &created.container).await
    {
        tracing::warn!(%error, "a sandbox that failed to start could not be stopped");
    }
    started?;
    Ok(created.isolation)
}

async fn start_container(boot: &Boot<'_>, created: &Created, record: &BoxRecord) -> Result<(), BackendError> {
    let Created { container, isolation } = created;
    let agent = match boot.way() {
        Way::Engine => {
            boot.start(container).await?;
            far::reach(boot, container).await?;
            None
        }
        Way::Door => {
            let waiting = Waiting::open(boot.folder).map_err(step("start", record))?;
            let setup = boot.early_setup();
            let met = async {
                boot.start(container).await?;
                boot.meet(&waiting, container, None).await
            };
            let (setup, mut met) = tokio::try_join!(setup, met)?;
            pass_gate(&mut met.stream, boot.complete(setup)).await?;
            met.pid.map(Agent::of).transpose().map_err(step("start", record))?
        }
    };
    let instance = Instance { container: container.clone(), agent, isolation: isolation.clone() };
    boot.folder.write_instance(&instance).map_err(step("start", record))
}

/// Ends all processes of a container, and waits for that; fine if it has none.
async fn halt(engine: &Connected, container: &str) -> Result<(), BackendError> {
    let options = StopContainerOptionsBuilder::default().t(1).build();
    match engine.docker.stop_container(container, Some(options)).await {
        Err(error) if !matches!(status(&error), Some(304 | 404)) => Err(failed("stop a container")(error)),
        _ => Ok(()),
    }
}

/// Stops it; fine if it is stopped.
pub(crate) async fn stop(parts: &Parts, record: &BoxRecord, grace: Duration) -> Result<(), BackendError> {
    let folder = Folder::new(&record.dir);
    if running(parts, record).await?.is_some() {
        if !grace.is_zero()
            && let Ok(guest) = connect(parts, record).await
        {
            ask_to_end(guest.as_ref(), grace).await;
        }
        let engine = engine(parts, record).await?;
        if let Some(found) = boot::find(parts, &engine, &record.id).await? {
            halt(&engine, &found.container).await?;
        }
    }
    folder.remove_instance().map_err(step("stop", record))
}

/// Removes all of it; fine if it is gone.
pub(crate) async fn remove(parts: &Parts, record: &BoxRecord) -> Result<(), BackendError> {
    if let Some(known) = known(parts, record).await? {
        boot::remove_all(parts, &known.engine, &record.id, known.doubt()).await?;
    }
    Folder::new(&record.dir).clear().map_err(step("remove", record))
}

/// Whether it runs: by its agent's process where that is of this machine, else by the engine's word.
pub(crate) async fn running(parts: &Parts, record: &BoxRecord) -> Result<Option<Isolation>, BackendError> {
    let folder = Folder::new(&record.dir);
    let instance = folder.read_instance().map_err(step("look at", record))?;
    if let Some(Instance { agent: Some(agent), isolation, .. }) = &instance
        && agent.lives().map_err(step("look at", record))?
    {
        return Ok(Some(isolation.clone()));
    }
    let engine = match known(parts, record).await {
        Ok(Some(known)) => known.engine,
        Ok(None) => return Ok(None),
        // Its process is gone, and without an engine nobody has started another.
        Err(BackendError::Unavailable { .. })
            if instance.is_some_and(|instance| instance.agent.is_some()) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    match boot::find(parts, &engine, &record.id).await? {
        Some(found) if found.runs => boot(parts, &engine, record, &folder).map(|boot| Some(boot.isolation())),
        _ => Ok(None),
    }
}

fn stopped(record: &BoxRecord) -> BackendError {
    BackendError::WrongPhase {
        name: record.name.to_string(),
        source: PhaseError { phase: Phase::Stopped, action: Action::Use },
    }
}

/// The way in.
pub(crate) async fn connect(parts: &Parts, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError> {
    let folder = Folder::new(&record.dir);
    let instance = folder.read_instance().map_err(step("connect to", record))?;
    if let Some(Instance { agent: Some(agent), container, .. }) = &instance
        && agent.lives().map_err(step("connect to", record))?
    {
        return knock(parts, record, &folder, container, agent.pid).await;
    }
    let known = known(parts, record).await?.ok_or_else(|| stopped(record))?;
    let engine = &*known.engine;
    let found = boot::find(parts, engine, &record.id).await?.filter(|found| found.runs);
    let Found { container, pid, .. } = found.ok_or_else(|| stopped(record))?;
    let boot = boot(parts, engine, record, &folder)?;
    if boot.way() == Way::Engine {
        return Ok(AgentGuest::connect(far::reach(&boot, &container).await?));
    }
    // Started by another hand than ours, or by one that died before it could note it.
    let pid = pid.ok_or_else(|| stopped(record))?;
    let agent = Agent::of(pid).map_err(step("connect to", record))?;
    let guest = knock(parts, record, &folder, &container, pid).await?;
    let instance = Instance { container, agent: Some(agent), isolation: boot.isolation() };
    folder.write_instance(&instance).map_err(step("connect to", record))?;
    Ok(guest)
}

/// Speaks to an agent of this machine. The engine is asked nothing unless the agent still has to be set up.
async fn knock(
    parts: &Parts,
    record: &BoxRecord,
    folder: &Folder,
    container: &str,
    pid: u32,
) -> Result<Arc<dyn Guest>, BackendError> {
    let waiting = Waiting::open(folder).map_err(step("connect to", record))?;
    let met = tokio::time::timeout(KNOCK_USUAL, waiting.accept(Some(pid))).await;
    let mut met = match met {
        Ok(met) => met.map_err(step("connect to", record))?,
        Err(_) => {
            let engine = engine(parts, record).await?;
            boot(parts, &engine, record, folder)?.meet(&waiting, container, Some(pid)).await?
        }
    };
    let setup = async {
        let engine = engine(parts, record).await?;
        boot(parts, &engine, record, folder)?.setup().await
    };
    pass_gate(&mut met.stream, setup).await?;
    Ok(AgentGuest::connect(met.stream))
}

/// How long an agent takes to open, at the longest, on a busy machine.
const KNOCK_USUAL: Duration = Duration::from_secs(2);
