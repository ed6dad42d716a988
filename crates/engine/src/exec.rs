//! One command in a box: what the user asked, completed from what the sandbox is.

use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{BackendError, Execution, Guest};
use agentkernel_model::{
    Action, BoxPath, ByteString, CannotExec, EnvVar, ExecRequest, Phase, PhaseError, SandboxName,
    SandboxSpec, TtySize, UserSpec,
};

use agentkernel_store::SandboxRecord;

use crate::home::set_home;
use crate::lifecycle::wrong_phase;
use crate::{Engine, EngineError, SandboxView};

/// What is asked of one command. `None` means the sandbox's own.
#[derive(Debug, Clone, Default)]
pub struct ExecPlan {
    /// The program and its arguments.
    pub argv: Vec<ByteString>,
    /// Variables on top of the sandbox's; of equal names the last wins.
    pub env: Vec<EnvVar>,
    /// The working directory.
    pub workdir: Option<BoxPath>,
    /// Who runs it.
    pub user: Option<UserSpec>,
    /// Whether standard input is connected.
    pub stdin: bool,
    /// A terminal of this size.
    pub tty: Option<TtySize>,
    /// When it is killed.
    pub timeout: Option<Duration>,
    /// See [`ExecRequest::detached_log_limit`].
    pub detached_log_limit: Option<u64>,
}

impl ExecPlan {
    /// A command with everything else left to the sandbox.
    pub fn new(argv: impl IntoIterator<Item = impl Into<ByteString>>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// The request for a box of `spec`. Refuses what no process could be given, before anything is changed.
    pub(crate) fn request(&self, spec: &SandboxSpec) -> Result<ExecRequest, EngineError> {
        let program = self.argv.first().cloned().unwrap_or_default();
        if program.as_bytes().is_empty() {
            return Err(BackendError::from(CannotExec::NotFound { program }).into());
        }
        if let Some(position) = self.argv.iter().position(|argument| argument.as_bytes().contains(&0)) {
            return Err(EngineError::Argument { position });
        }
        let user = self.user.clone().or_else(|| spec.user.clone());
        let mut env = overlay(&spec.env, &self.env)?;
        if self.tty.is_some() {
            add_missing(&mut env, "TERM", "xterm");
        }
        let is_root = user.as_ref().is_none_or(|user| user.user == "root" || user.user == "0");
        if !is_root && spec.image.is_host() {
            // Root's home is closed to others, and theirs isn't known here; /tmp always exists and can be written.
            for variable in env.iter_mut() {
                if variable.name.as_bytes() == b"HOME" && variable.value.as_bytes() == b"/root" {
                    variable.value = "/tmp".into();
                }
            }
        }
        Ok(ExecRequest {
            argv: self.argv.clone(),
            env,
            workdir: self.workdir.clone().unwrap_or_else(|| spec.workdir.clone()),
            user,
            stdin: self.stdin,
            tty: self.tty,
            timeout: self.timeout,
            detached_log_limit: self.detached_log_limit,
        })
    }
}

fn add_missing(env: &mut Vec<EnvVar>, name: &str, value: &str) {
    if !env.iter().any(|variable| variable.name.as_bytes() == name.as_bytes()) {
        env.push(EnvVar { name: name.into(), value: value.into() });
    }
}

/// `base` with `top` over it: each name once, the last value wins, the order of first mention is kept.
pub(crate) fn overlay(base: &[EnvVar], top: &[EnvVar]) -> Result<Vec<EnvVar>, EngineError> {
    let mut merged: Vec<EnvVar> = Vec::with_capacity(base.len() + top.len());
    let mut places = std::collections::HashMap::new();
    for variable in base.iter().chain(top) {
        check(variable)?;
        match places.entry(variable.name.as_bytes()) {
            std::collections::hash_map::Entry::Occupied(place) => {
                let place: &usize = place.get();
                merged[*place] = variable.clone();
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(variable.clone());
            }
        }
    }
    Ok(merged)
}

fn check(variable: &EnvVar) -> Result<(), EngineError> {
    let refuse = |why| Err(EngineError::Variable { name: variable.name.clone(), why });
    match variable.name.as_bytes() {
        [] => refuse("its name is empty"),
        name if name.contains(&b'=') => refuse("its name holds '='"),
        name if name.contains(&0) => refuse("its name holds a NUL byte"),
        _ if variable.value.as_bytes().contains(&0) => refuse("its value holds a NUL byte"),
        _ => Ok(()),
    }
}

/// A stopped sandbox can be started; one that another command is changing can only be waited for.
fn not_usable(name: &SandboxName, source: PhaseError) -> EngineError {
    match source.phase {
        Phase::Stopped => EngineError::NotRunning { name: name.to_string(), phase: source.phase },
        _ => wrong_phase(name, source),
    }
}

impl Engine {
    /// The way into a running sandbox. Starts nothing and takes no lock, so it works while other commands run there.
    pub async fn guest(&self, name: &SandboxName) -> Result<(SandboxView, Arc<dyn Guest>), EngineError> {
        let mut record = self.inner.store.read(name)?;
        if record.phase == Phase::Pausing {
            record = self.after_standstill(name).await?;
        }
        if let Err(source) = record.phase.before(Action::Use) {
            return Err(not_usable(name, source));
        }
        let backend = self.backend(&record.spec.backend)?;
        match backend.connect(&self.box_record(&record)).await {
            Ok(guest) => Ok((SandboxView::of(record), guest)),
            Err(error) => match self.look(record).await.phase {
                // The machine is asked only now: a box that is there pays nothing for the question.
                Phase::Running => Err(error.into()),
                phase => Err(not_usable(name, PhaseError { phase, action: Action::Use })),
            },
        }
    }

    /// The record of a sandbox that stands still for a moment, when that has passed.
    async fn after_standstill(&self, name: &SandboxName) -> Result<SandboxRecord, EngineError> {
        let mut locked = self.lock(name).await?;
        let backend = self.backend(&locked.record().spec.backend)?;
        self.settle_pausing(&mut locked, &*backend).await?;
        Ok(locked.record().clone())
    }

    /// Starts a command in a running sandbox.
    pub async fn exec(&self, name: &SandboxName, plan: ExecPlan) -> Result<Execution, EngineError> {
        let (view, guest) = self.guest(name).await?;
        self.exec_in(&view, &*guest, plan).await
    }

    /// The same for who has [`Self::guest`]'s answer already.
    pub async fn exec_in(
        &self,
        view: &SandboxView,
        guest: &dyn Guest,
        plan: ExecPlan,
    ) -> Result<Execution, EngineError> {
        let mut request = plan.request(&view.spec)?;
        set_home(&mut request, &view.spec, guest).await?;
        Ok(guest.exec(&request).await?)
    }
}
