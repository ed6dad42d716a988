//! Commands that outlive the request that started them. They belong to the agent in their sandbox, not to this server,
//! and so survive it.

use std::time::Instant;

use agentkernel_api::{self as api, EventKind};
use agentkernel_backend::BackendError;
use agentkernel_engine::{EngineError, ExecPlan};
use agentkernel_model::Signal;

use crate::policy::entry;
use crate::request::{CommandWish, exec_id, signal};
use crate::{AuditEntry, Caller, Input, Scope, Service, ServiceError, view};

/// The largest log that may be asked for.
const MAX_LOG_BYTES: u64 = 64 << 30;

impl Service {
    /// Starts a command that outlives its client, with a log. One that can't be started is an error here: there is no
    /// result to say it in.
    pub async fn exec_detached(
        &self,
        caller: &Caller,
        sandbox: &str,
        request: api::ExecRequest,
    ) -> Result<api::StartedExecution, ServiceError> {
        let inner = &self.inner;
        let since = Instant::now();
        inner.authorize(caller, Scope::Run, "exec_detached")?;
        if request.stdin.is_some() {
            return Err(ServiceError::invalid("stdin", "a detached command has none; leave it out"));
        }
        let log_bytes = request.log_bytes.unwrap_or(inner.limits.detached_log_bytes);
        if log_bytes > MAX_LOG_BYTES {
            return Err(ServiceError::invalid("log_bytes", format_args!("{MAX_LOG_BYTES} at most")));
        }
        let command = CommandWish::of_exec(request, Input::Request, &inner.limits)?;
        inner
            .admission
            .count(caller)
            .inspect_err(|error| inner.denied(caller, "exec_detached", &error.message))?;
        let plan = ExecPlan { detached_log_limit: Some(log_bytes), ..command.plan(command.argv())? };
        let inside = inner.inside(sandbox).await?;
        let execution = match inner.engine.exec_in(&inside.view, &*inside.guest, plan).await {
            Ok(execution) => execution,
            Err(error) => {
                let error = match error {
                    EngineError::Backend(error @ BackendError::Runtime { .. }) => ServiceError::inside(error),
                    error => error.into(),
                };
                inner.failed(caller, "exec_detached", Some(sandbox), &error);
                return Err(error);
            }
        };
        let id = execution.id.to_string();
        inner.audit.record(AuditEntry {
            sandbox: Some(sandbox.to_owned()),
            backend: Some(inside.view.backend.to_string()),
            execution: Some(id.clone()),
            argv: command.words,
            ..entry(caller, "exec_detached")
        });
        let fields = [("execution", id.clone()), ("detached", "true".to_owned())];
        inner.events.emit(EventKind::CommandStarted, Some(sandbox), fields);
        tracing::debug!(elapsed = ?since.elapsed(), "detached command started");
        Ok(api::StartedExecution { id, sandbox: sandbox.to_owned() })
    }

    /// The commands that run in a sandbox, and detached ones that have ended.
    pub async fn executions(
        &self,
        caller: &Caller,
        sandbox: &str,
    ) -> Result<Vec<api::ExecutionInfo>, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "executions")?;
        let inside = self.inner.inside(sandbox).await?;
        let executions = inside.guest.executions().await.map_err(ServiceError::inside)?;
        Ok(executions.iter().map(view::execution).collect())
    }

    /// One of them.
    pub async fn execution(
        &self,
        caller: &Caller,
        sandbox: &str,
        id: &str,
    ) -> Result<api::ExecutionInfo, ServiceError> {
        let id = exec_id(id)?;
        let all = self.executions(caller, sandbox).await?;
        let found = all.into_iter().find(|execution| execution.id == id.as_str());
        found.ok_or_else(|| unknown(id.as_str(), sandbox))
    }

    /// Sends a command a signal: SIGKILL, to its whole process tree, where none is named.
    pub async fn kill(
        &self,
        caller: &Caller,
        sandbox: &str,
        id: &str,
        request: api::KillRequest,
    ) -> Result<(), ServiceError> {
        self.inner.authorize(caller, Scope::Run, "kill")?;
        let id = exec_id(id)?;
        let signal = request.signal.as_deref().map_or(Ok(Signal::KILL), signal)?;
        let inside = self.inner.inside(sandbox).await?;
        inside.guest.kill(&id, signal).await.map_err(ServiceError::inside)?;
        self.inner.audit.record(AuditEntry {
            sandbox: Some(sandbox.to_owned()),
            execution: Some(id.to_string()),
            ..entry(caller, "kill")
        });
        Ok(())
    }
}

pub(crate) fn unknown(id: &str, sandbox: &str) -> ServiceError {
    ServiceError::new(api::ErrorCode::NotFound, format!("no execution {id:?} in sandbox {sandbox:?}"))
}
