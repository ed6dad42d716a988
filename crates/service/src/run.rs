//! `run`: a sandbox for one command.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use agentkernel_api::{self as api, ErrorCode};
use agentkernel_backend::BackendError;
use agentkernel_engine::{EngineError, ExecPlan, FileBytes, RunPlan};
use agentkernel_model::{ByteString, PullProgress};
use bytes::Bytes;
use tracing::Instrument as _;

use crate::admission::Leave;
use crate::held::{Beginning, Held};
use crate::planning::{PlannedRun, RunWish};
use crate::policy::entry;
use crate::request::{CommandWish, SandboxWish, initial_files};
use crate::service::Inner;
use crate::started::Shape;
use crate::view::{isolation, no_isolation, timestamp};
use crate::{AuditEntry, Caller, Input, Scope, Service, ServiceError, Started, StartedInfo, Verdict};

/// What one launch needs.
struct Launch {
    plan: RunPlan,
    contents: Vec<FileBytes>,
    content: Option<Bytes>,
    shape: Shape,
    since: Instant,
    caller: Caller,
    words: Vec<String>,
}

impl Service {
    /// Makes a sandbox and starts a command in it. A command that can't be started is a [`Started`] too.
    pub async fn run(
        &self,
        caller: &Caller,
        request: api::RunRequest,
        input: Input,
    ) -> Result<Started, ServiceError> {
        self.run_watched(caller, request, input, &()).await
    }

    /// The same; `progress` is told of an image that has to be fetched first.
    pub async fn run_watched(
        &self,
        caller: &Caller,
        request: api::RunRequest,
        input: Input,
        progress: &dyn PullProgress,
    ) -> Result<Started, ServiceError> {
        let span = tracing::info_span!("run", backend = tracing::field::Empty, warm = tracing::field::Empty);
        let result = self.inner.run(caller, request, input, progress).instrument(span).await;
        result.inspect_err(|error| self.inner.failed(caller, "run", None, error))
    }
}

impl Inner {
    async fn run(
        self: &Arc<Self>,
        caller: &Caller,
        mut request: api::RunRequest,
        input: Input,
        progress: &dyn PullProgress,
    ) -> Result<Started, ServiceError> {
        let since = Instant::now();
        self.authorize(caller, Scope::Run, "run")?;
        let command = CommandWish::of_run(&mut request, input, &self.limits)?;
        let (sandbox, extras) = SandboxWish::of_run(&request)?;
        let max_bytes = self.limits.max_file_bytes_in_json;
        let contents = initial_files(std::mem::take(&mut request.files), max_bytes)?;
        let mut leave = Some(self.enter(caller, "run").await?);
        let wish = RunWish {
            sandbox: &sandbox,
            extras: &extras,
            entrypoint: request.entrypoint.as_deref(),
            words: &command.words,
        };
        loop {
            let planned = self.plan_run(caller, &wish, progress).await?;
            let remembered = planned.remembered;
            let launch = self.launch_of(caller, planned, &command, &contents, since, request.fast)?;
            match self.launch(launch, &mut leave).await {
                // What was decided a moment ago may not be so any more: an image was removed, a backend went away.
                Err(error) if remembered && is_stale(&error) => self.plans.forget(),
                result => return result,
            }
        }
    }

    /// Waits for leave to run a command; who gets none is in the audit log.
    pub(crate) async fn enter(&self, caller: &Caller, action: &'static str) -> Result<Leave, ServiceError> {
        let entered = self.admission.enter(caller).await;
        entered.inspect_err(|error| self.denied(caller, action, &error.message))
    }

    /// Writes down that something could not be done. What was refused is in the log already, or was no request at all.
    pub(crate) fn failed(
        &self,
        caller: &Caller,
        action: &'static str,
        sandbox: Option<&str>,
        error: &ServiceError,
    ) {
        let refused = matches!(
            error.code,
            ErrorCode::Invalid
                | ErrorCode::TooLarge
                | ErrorCode::Forbidden
                | ErrorCode::QuotaExceeded
                | ErrorCode::Busy
                | ErrorCode::ShuttingDown
        );
        if refused {
            return;
        }
        self.statistics.failed_starts.add(1);
        self.audit.record(AuditEntry {
            sandbox: sandbox.map(str::to_owned),
            verdict: Verdict::Failed,
            why: Some(error.message.clone()),
            ..entry(caller, action)
        });
    }

    fn launch_of(
        &self,
        caller: &Caller,
        planned: PlannedRun,
        command: &CommandWish,
        contents: &[FileBytes],
        since: Instant,
        fast: bool,
    ) -> Result<Launch, ServiceError> {
        let words = planned.argv.iter().map(ByteString::to_lossy).collect();
        let plan = RunPlan {
            spec: planned.plan.spec.clone(),
            command: ExecPlan {
                timeout: command.timeout.or(Some(self.limits.default_timeout)),
                ..command.plan(planned.argv)?
            },
            files: planned.plan.files.clone(),
            keep: None,
            name: None,
            config_file: planned.plan.config_file.clone(),
            warm: fast,
        };
        let shape = Shape { encoding: command.encoding, max_output_bytes: command.max_output_bytes };
        let content = command.stdin.clone();
        Ok(Launch { plan, contents: contents.to_vec(), content, shape, since, caller: caller.clone(), words })
    }

    /// Launches, whatever becomes of who waits for it: a half-made box would be left to recovery.
    async fn launch(
        self: &Arc<Self>,
        launch: Launch,
        leave: &mut Option<Leave>,
    ) -> Result<Started, ServiceError> {
        let place = self.admission.start().await?;
        let inner = Arc::clone(self);
        let given = leave.take();
        let task = async move {
            let _place = place;
            let Launch { plan, contents, content, shape, since, caller, words } = launch;
            let (backend, image) = (plan.spec.backend.clone(), plan.spec.image.to_string());
            let span = tracing::debug_span!("launch", backend = backend.as_str());
            let mut info = StartedInfo {
                id: String::new(),
                backend: backend.to_string(),
                isolation: no_isolation(&backend),
                image,
                warm: false,
                sandbox: None,
                command: words,
                started_at: timestamp(SystemTime::now()),
            };
            let run = match inner.engine.run_with(plan, contents).instrument(span).await {
                Ok(run) => run,
                Err(EngineError::Backend(BackendError::CannotExec(why))) => {
                    let error = ServiceError::new(ErrorCode::CannotExec, why.to_string());
                    inner.failed(&caller, "run", None, &error);
                    return (given, Ok(Started::not_started(info, shape, since, &why)));
                }
                Err(error) => return (given, Err(error.into())),
            };
            info.id = run.execution.id.to_string();
            info.isolation = isolation(&run.isolation);
            info.warm = run.warm;
            let argv = info.command.clone();
            let (execution, ending) = run.into_parts();
            let beginning = Beginning {
                caller,
                action: "run",
                end_action: "run_end",
                sandbox: None,
                backend,
                execution: info.id.clone(),
                argv,
                warm: info.warm,
                since,
                ending: Some(ending),
                leave: given,
            };
            let held = Held::begin(&inner, beginning);
            (None, Ok(Started::running(info, shape, since, execution, content, held)))
        };
        let (given_back, result): (_, Result<Started, ServiceError>) = self.to_the_end(task).await?;
        *leave = given_back;
        let started = result?;
        let span = tracing::Span::current();
        span.record("backend", started.info().backend.as_str()).record("warm", started.info().warm);
        Ok(started)
    }
}

/// Whether a decision that was remembered may be to blame.
fn is_stale(error: &ServiceError) -> bool {
    matches!(
        error.code,
        ErrorCode::NotFound
            | ErrorCode::ImageNotFound
            | ErrorCode::Unavailable
            | ErrorCode::Unsupported
            | ErrorCode::Failed
    )
}
