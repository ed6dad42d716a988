//! `exec`: another command in a running sandbox.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use agentkernel_api as api;
use agentkernel_backend::{BackendError, Execution, Guest};
use agentkernel_engine::{EngineError, ExecPlan, SandboxView};
use agentkernel_model::TtySize;
use tracing::Instrument as _;

use crate::held::{Beginning, Held};
use crate::request::{CommandWish, sandbox_name};
use crate::service::Inner;
use crate::started::Shape;
use crate::view::{isolation, no_isolation, timestamp};
use crate::{Caller, Input, Scope, Service, ServiceError, Started, StartedInfo};

/// What an exec is given besides its request.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExecExtra {
    /// Where its standard input comes from.
    pub input: Input,
    /// A terminal of this size instead of three pipes.
    pub tty: Option<TtySize>,
}

/// A running sandbox and the way in.
pub(crate) struct Inside {
    pub(crate) view: SandboxView,
    pub(crate) guest: Arc<dyn Guest>,
}

impl Service {
    /// Starts a command in a running sandbox. A command that can't be started is a [`Started`] too.
    pub async fn exec(
        &self,
        caller: &Caller,
        sandbox: &str,
        request: api::ExecRequest,
        extra: ExecExtra,
    ) -> Result<Started, ServiceError> {
        let span = tracing::info_span!("exec", sandbox, backend = tracing::field::Empty);
        let result = self.inner.exec(caller, sandbox, request, extra).instrument(span).await;
        result.inspect_err(|error| self.inner.failed(caller, "exec", Some(sandbox), error))
    }
}

impl Inner {
    async fn exec(
        self: &Arc<Self>,
        caller: &Caller,
        sandbox: &str,
        request: api::ExecRequest,
        extra: ExecExtra,
    ) -> Result<Started, ServiceError> {
        let since = Instant::now();
        self.authorize(caller, Scope::Run, "exec")?;
        if request.log_bytes.is_some() {
            return Err(ServiceError::invalid(
                "log_bytes",
                "only detached commands have a log; leave it out",
            ));
        }
        let command = CommandWish::of_exec(request, extra.input, &self.limits)?;
        let plan = ExecPlan {
            tty: extra.tty,
            timeout: command.timeout.or(Some(self.limits.default_timeout)),
            ..command.plan(command.argv())?
        };
        let leave = self.enter(caller, "exec").await?;
        let inside = self.inside(sandbox).await?;
        tracing::Span::current().record("backend", inside.view.backend.as_str());
        let shape = Shape { encoding: command.encoding, max_output_bytes: command.max_output_bytes };
        let mut info = started_info(&inside.view, command.words);
        let execution = match self.engine.exec_in(&inside.view, &*inside.guest, plan).await {
            Ok(execution) => execution,
            Err(EngineError::Backend(BackendError::CannotExec(why))) => {
                let error = ServiceError::new(api::ErrorCode::CannotExec, why.to_string());
                self.failed(caller, "exec", Some(sandbox), &error);
                return Ok(Started::not_started(info, shape, since, &why));
            }
            Err(EngineError::Backend(error)) => return Err(ServiceError::inside(error)),
            Err(error) => return Err(error.into()),
        };
        info.id = execution.id.to_string();
        let held = self.hold(caller, &inside, &execution, &info, ("exec", "exec_end"), since, Some(leave));
        Ok(Started::running(info, shape, since, execution, command.stdin, held))
    }

    /// The books of a command in a sandbox that lasts.
    #[expect(clippy::too_many_arguments, reason = "each is one fact of one command")]
    pub(crate) fn hold(
        self: &Arc<Self>,
        caller: &Caller,
        inside: &Inside,
        execution: &Execution,
        info: &StartedInfo,
        (action, end_action): (&'static str, &'static str),
        since: Instant,
        leave: Option<crate::admission::Leave>,
    ) -> Held {
        let beginning = Beginning {
            caller: caller.clone(),
            action,
            end_action,
            sandbox: info.sandbox.clone(),
            backend: inside.view.backend.clone(),
            execution: execution.id.to_string(),
            argv: info.command.clone(),
            warm: false,
            since,
            ending: None,
            leave,
        };
        Held::begin(self, beginning)
    }

    /// The way into a running sandbox.
    pub(crate) async fn inside(&self, sandbox: &str) -> Result<Inside, ServiceError> {
        let name = sandbox_name(sandbox)?;
        let (view, guest) = self.engine.guest(&name).await?;
        Ok(Inside { view, guest })
    }
}

pub(crate) fn started_info(view: &SandboxView, command: Vec<String>) -> StartedInfo {
    StartedInfo {
        id: String::new(),
        backend: view.backend.to_string(),
        isolation: view.isolation.as_ref().map_or_else(|| no_isolation(&view.backend), isolation),
        image: view.image.to_string(),
        warm: false,
        sandbox: Some(view.name.to_string()),
        command,
        started_at: timestamp(SystemTime::now()),
    }
}
