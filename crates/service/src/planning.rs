//! From a request's wishes to a specification, remembered for a moment: requests that ask for the same sandbox come in
//! rows, and deciding costs more than everything else that a warm run does before its box.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentkernel_backend::Lifetime;
use agentkernel_config::{FileEntry, Settings};
use agentkernel_engine::{PlanRequest, RunCommand};
use agentkernel_model::{ByteString, Profile, PullPolicy, PullProgress, SandboxSpec};
use tracing::Instrument as _;

use crate::request::{Extras, SandboxWish};
use crate::service::Inner;
use crate::{Caller, Scope, ServiceError};

/// How long a decision is good for: what it depends on (the configuration file, the images that are here, programs of
/// the host, whether a backend is ready) may change at any time, and a person who has changed it and asks again must not
/// get the old answer.
const VALIDITY: Duration = Duration::from_secs(1);

/// The most decisions that are remembered.
const MOST: usize = 256;

/// A sandbox that was decided on.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) spec: SandboxSpec,
    /// What comes before the command's own words, or all of it where the request names none.
    pub(crate) argv: Vec<ByteString>,
    /// Files of the server's configuration.
    pub(crate) files: Vec<FileEntry>,
    pub(crate) config_file: Option<PathBuf>,
    /// Why only an admin may have it.
    admin_only: Option<&'static str>,
}

/// What a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    wish: SandboxWish,
    entrypoint: Option<Vec<String>>,
    program: Option<String>,
}

/// What was decided lately.
#[derive(Default)]
pub(crate) struct Plans {
    known: Mutex<HashMap<Key, (Instant, Arc<Plan>)>>,
}

impl Plans {
    fn find(&self, key: &Key) -> Option<Arc<Plan>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, plan) = known.get(key)?;
        (since.elapsed() < VALIDITY).then(|| Arc::clone(plan))
    }

    fn keep(&self, key: Key, plan: Arc<Plan>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (since, _)| since.elapsed() < VALIDITY);
        }
        if known.len() < MOST {
            known.insert(key, (Instant::now(), plan));
        }
    }

    /// Forgets everything: an image was fetched, or a box could not be made as decided.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// What a run is to be planned from.
pub(crate) struct RunWish<'a> {
    pub(crate) sandbox: &'a SandboxWish,
    pub(crate) extras: &'a Extras,
    pub(crate) entrypoint: Option<&'a [String]>,
    pub(crate) words: &'a [String],
}

/// A decision for one run.
pub(crate) struct PlannedRun {
    pub(crate) plan: Arc<Plan>,
    pub(crate) argv: Vec<ByteString>,
    /// Whether it was remembered, so that it may be out of date.
    pub(crate) remembered: bool,
}

impl Inner {
    /// Decides on a run's sandbox and command, or remembers.
    pub(crate) async fn plan_run(
        &self,
        caller: &Caller,
        wish: &RunWish<'_>,
        progress: &dyn PullProgress,
    ) -> Result<PlannedRun, ServiceError> {
        // Mounts depend on folders of the host: their presence is looked at each time.
        let key = wish.extras.mounts.is_empty().then(|| Key {
            wish: wish.sandbox.clone(),
            entrypoint: wish.entrypoint.map(<[String]>::to_vec),
            program: wish.words.first().cloned(),
        });
        let found = key.as_ref().and_then(|key| self.plans.find(key));
        let remembered = found.is_some();
        let plan = match found {
            Some(plan) => plan,
            None => {
                let (plan, lasting) = self.decide_run(wish, progress).await?;
                let plan = Arc::new(plan);
                if let Some(key) = key.filter(|_| lasting) {
                    self.plans.keep(key, Arc::clone(&plan));
                }
                plan
            }
        };
        self.allow(caller, &plan)?;
        let argv =
            plan.argv.iter().cloned().chain(wish.words.iter().map(|word| word.as_str().into())).collect();
        Ok(PlannedRun { plan, argv, remembered })
    }

    /// The decision, and whether it may be remembered.
    async fn decide_run(
        &self,
        wish: &RunWish<'_>,
        progress: &dyn PullProgress,
    ) -> Result<(Plan, bool), ServiceError> {
        let mut settings = self.settings(wish.sandbox, wish.extras)?;
        // The file's name is for a sandbox that lasts.
        settings.name = None;
        let entrypoint: Option<Vec<ByteString>> =
            wish.entrypoint.map(|words| words.iter().map(|word| word.as_str().into()).collect());
        let named = wish.sandbox.names_image()
            || settings.image.as_ref().is_some_and(|image| !image.is_host())
            || settings.build.is_some()
            || entrypoint.as_ref().is_some_and(|words| !words.is_empty());
        if wish.words.is_empty() && !named {
            let why =
                "it is empty; give a program and its arguments, or an image that has a command of its own";
            return Err(ServiceError::invalid("command", why));
        }
        let first: Vec<ByteString> = wish.words.iter().take(1).map(|word| word.as_str().into()).collect();
        let command = RunCommand { entrypoint: entrypoint.as_deref(), words: &first };
        let mut plan = self.decide(&settings, Lifetime::Ephemeral, Some(command), progress).await?;
        plan.argv.truncate(plan.argv.len() - first.len().min(plan.argv.len()));
        let lasting = settings.build.is_none() && settings.outside.images.pull != PullPolicy::Always;
        Ok((plan, lasting))
    }

    /// Decides on a sandbox that lasts.
    pub(crate) async fn plan_sandbox(
        &self,
        caller: &Caller,
        wish: &SandboxWish,
        extras: &Extras,
        lifetime: Lifetime,
        progress: &dyn PullProgress,
    ) -> Result<Plan, ServiceError> {
        let mut settings = self.settings(wish, extras)?;
        settings.name.clone_from(&extras.name);
        let plan = self.decide(&settings, lifetime, None, progress).await?;
        self.allow(caller, &plan)?;
        Ok(plan)
    }

    /// The server's configuration with the request's wishes over it.
    pub(crate) fn settings(&self, wish: &SandboxWish, extras: &Extras) -> Result<Settings, ServiceError> {
        let overrides = wish.overrides(extras, &self.state_dir)?;
        Ok(agentkernel_config::load(&self.environment, self.config.as_deref(), overrides)?)
    }

    async fn decide(
        &self,
        settings: &Settings,
        lifetime: Lifetime,
        command: Option<RunCommand<'_>>,
        progress: &dyn PullProgress,
    ) -> Result<Plan, ServiceError> {
        let span = tracing::debug_span!("plan", backend = tracing::field::Empty);
        async {
            let backend = self.engine.select(settings.backend.as_ref()).await?;
            tracing::Span::current().record("backend", backend.name().as_str());
            let request = PlanRequest {
                settings,
                environment: &self.environment,
                backend: backend.as_ref(),
                lifetime,
                command,
                progress,
            };
            let planned = self.engine.plan(&request).await?;
            Ok(Plan {
                spec: planned.spec,
                argv: planned.argv,
                files: settings.files.clone(),
                config_file: settings.config_file.clone(),
                admin_only: reaches_out(settings),
            })
        }
        .instrument(span)
        .await
    }

    /// Refuses what only an admin may have, wherever the wish for it came from.
    fn allow(&self, caller: &Caller, plan: &Plan) -> Result<(), ServiceError> {
        match plan.admin_only {
            Some(what) if caller.scope < Scope::Admin => Err(self.forbid(caller, what)),
            _ => Ok(()),
        }
    }
}

/// What of a sandbox reaches out of it.
fn reaches_out(settings: &Settings) -> Option<&'static str> {
    let open_port = settings.ports.iter().any(|port| !port.address.is_loopback());
    [
        (settings.profile == Profile::Permissive, "profile permissive"),
        (!settings.mounts.is_empty(), "mounting folders of the host"),
        (settings.grants.mount_home, "showing the home folder"),
        (settings.grants.mount_cwd.is_some(), "showing the current folder"),
        (settings.toolchains, "showing tool chains of the home folder"),
        (settings.allow_unlimited, "letting limits go"),
        (open_port, "a port that other machines reach"),
    ]
    .into_iter()
    .find_map(|(it_does, what)| it_does.then_some(what))
}
