//! One command in a box of its own.

use std::path::PathBuf;
use std::sync::Arc;

use agentkernel_backend::{EphemeralBox, Execution, Guest, Lifetime};
use agentkernel_config::FileEntry;
use agentkernel_model::{ExecRequest, Isolation, PublishedPort, SandboxName, SandboxSpec};
use agentkernel_store::{Ownership, StoreError};

use crate::creation::{NewSandbox, named_inside};
use crate::files::{FileBytes, SourceFile, all_sources, upload};
use crate::forward::Forwarding;
use crate::home::set_home;
use crate::listen::bind;
use crate::{Engine, EngineError, ExecPlan};

/// What to run, and in what.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The box.
    pub spec: SandboxSpec,
    /// The command.
    pub command: ExecPlan,
    /// Files it starts with.
    pub files: Vec<FileEntry>,
    /// Keeps the sandbox, running, under this name. Wins over `name`.
    pub keep: Option<SandboxName>,
    /// Makes the sandbox visible to other commands under this name while it lives.
    pub name: Option<SandboxName>,
    /// Whether the box may be one that was started before it was asked for. It is the same box, but sooner; one with a name
    /// never is.
    pub warm: bool,
    /// The configuration file it came from.
    pub config_file: Option<PathBuf>,
}

/// A command that runs in a box of its own. [`Run::finish`] ends the box; dropping it ends the box too, but may leave
/// parts of it to the next command's recovery.
pub struct Run {
    /// The isolation that the box really got.
    pub isolation: Isolation,
    /// Whether the box was started before it was asked for.
    pub warm: bool,
    /// The command.
    pub execution: Execution,
    /// The way into the box.
    pub guest: Arc<dyn Guest>,
    /// The name it can be reached by, if any.
    pub sandbox: Option<SandboxName>,
    /// Where its published ports listen.
    pub published: Vec<PublishedPort>,
    /// The end of it.
    pub ending: RunEnding,
}

/// What is left to do when the command has ended.
#[must_use = "the box lives until its ending is finished"]
pub struct RunEnding(Ending);

enum Ending {
    Ephemeral { held: Box<dyn EphemeralBox>, _forwarding: Option<Forwarding> },
    Named { engine: Engine, name: SandboxName, id: String, _owned: Ownership },
    Kept,
}

impl Run {
    /// Ends the box and removes all of it, unless it was to be kept.
    pub async fn finish(self) -> Result<(), EngineError> {
        drop(self.execution);
        drop(self.guest);
        self.ending.finish().await
    }

    /// The command and the ending apart: for who hands the command's streams to others.
    pub fn into_parts(self) -> (Execution, RunEnding) {
        (self.execution, self.ending)
    }
}

impl RunEnding {
    /// Ends the box and removes all of it, unless it was to be kept.
    pub async fn finish(self) -> Result<(), EngineError> {
        match self.0 {
            Ending::Kept => Ok(()),
            Ending::Ephemeral { held, .. } => Ok(held.destroy().await?),
            Ending::Named { engine, name, id, _owned } => match engine.remove_own(&name, &id).await {
                // Somebody removed it while the command ran: that is what was wanted.
                Err(EngineError::Store(StoreError::NotFound { .. })) => Ok(()),
                other => other,
            },
        }
    }
}

impl Engine {
    /// Makes a box, puts the files in and starts the command. On failure nothing is left.
    pub async fn run(&self, plan: RunPlan) -> Result<Run, EngineError> {
        self.run_with(plan, Vec::new()).await
    }

    /// The same with further files whose content the caller has.
    pub async fn run_with(&self, plan: RunPlan, contents: Vec<FileBytes>) -> Result<Run, EngineError> {
        let keep = plan.keep.is_some();
        let name = plan.keep.or(plan.name);
        let (spec, lifetime) = match &name {
            Some(name) => (named_inside(plan.spec, name), Lifetime::Persistent),
            None => (plan.spec, Lifetime::Ephemeral),
        };
        self.refuse(&spec, lifetime)?;
        let request = plan.command.request(&spec)?;
        let sources = all_sources(&plan.files, contents)?;
        match name {
            None => self.run_once(spec, request, sources, plan.warm).await,
            Some(name) => {
                let new = NewSandbox { name, spec, sources, ephemeral: !keep, config_file: plan.config_file };
                self.run_named(new, request).await
            }
        }
    }

    async fn run_once(
        &self,
        spec: SandboxSpec,
        mut request: ExecRequest,
        sources: Vec<SourceFile>,
        warm: bool,
    ) -> Result<Run, EngineError> {
        let backend = self.backend(&spec.backend)?;
        let listening = bind(&spec.ports)?;
        let held = match warm {
            true => backend.launch(&spec).await?,
            false => backend.launch_cold(&spec).await?,
        };
        let guest = held.guest();
        let published: Vec<PublishedPort> = listening.iter().map(|one| one.port).collect();
        let started = async {
            upload(sources, &*guest).await?;
            let forwarding = match listening.is_empty() {
                true => None,
                false => Some(Forwarding::start(guest.clone(), listening)?),
            };
            set_home(&mut request, &spec, &*guest).await?;
            Ok::<_, EngineError>((guest.exec(&request).await?, forwarding))
        };
        match started.await {
            Ok((execution, forwarding)) => Ok(Run {
                isolation: held.isolation().clone(),
                warm: held.is_warm(),
                execution,
                guest,
                sandbox: None,
                published,
                ending: RunEnding(Ending::Ephemeral { held, _forwarding: forwarding }),
            }),
            Err(error) => {
                drop(guest);
                if let Err(left) = held.destroy().await {
                    tracing::warn!(error = %left, "could not remove a box whose start failed; the next command tries again");
                }
                Err(error)
            }
        }
    }

    async fn run_named(&self, new: NewSandbox, mut request: ExecRequest) -> Result<Run, EngineError> {
        let backend = self.backend(&new.spec.backend)?;
        let (name, ephemeral) = (new.name.clone(), new.ephemeral);
        let mut locked = self.make(new).await?;
        let id = locked.record().id.clone();
        let started = async {
            // Held until the run ends: recovery removes an ephemeral sandbox that nobody owns.
            let owned = if ephemeral { Some(locked.own()?) } else { None };
            let isolation = self.start_locked(&mut locked).await?;
            let guest = backend.connect(&self.box_record(locked.record())).await?;
            set_home(&mut request, &locked.record().spec, &*guest).await?;
            let execution = guest.exec(&request).await?;
            Ok::<_, EngineError>((owned, isolation, guest, execution))
        };
        match started.await {
            Ok((owned, isolation, guest, execution)) => {
                let published = locked.record().published.clone();
                let ending = match owned {
                    Some(owned) => {
                        Ending::Named { engine: self.clone(), name: name.clone(), id, _owned: owned }
                    }
                    None => Ending::Kept,
                };
                Ok(Run {
                    isolation,
                    warm: false,
                    execution,
                    guest,
                    sandbox: Some(name),
                    published,
                    ending: RunEnding(ending),
                })
            }
            Err(error) => {
                self.unmake(locked, &*backend).await;
                Err(error)
            }
        }
    }

    /// Removes the sandbox that this run made, and no other that took its name meanwhile.
    async fn remove_own(&self, name: &SandboxName, id: &str) -> Result<(), EngineError> {
        let mut locked = self.lock(name).await?;
        if locked.record().id != id {
            return Ok(());
        }
        let backend = self.backend(&locked.record().spec.backend)?;
        self.remove_locked(&mut locked, &*backend).await?;
        Ok(locked.delete()?)
    }
}
