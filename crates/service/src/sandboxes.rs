//! Sandboxes that stay: made, seen, started, stopped, removed.

use std::sync::Arc;
use std::time::Duration;

use agentkernel_api::{self as api, ErrorCode, EventKind};
use agentkernel_backend::Lifetime;
use agentkernel_engine::SandboxView;
use agentkernel_model::SandboxName;
use tracing::Instrument as _;

use crate::policy::entry;
use crate::request::{SandboxWish, initial_files, sandbox_name};
use crate::service::Inner;
use crate::{AuditEntry, Caller, Scope, Service, ServiceError, Verdict, view};

/// How long commands get between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// The longest that they may get: a stop holds the sandbox.
const MAX_GRACE: Duration = Duration::from_secs(600);

impl Service {
    /// Makes a sandbox and, unless the request says otherwise, starts it. Where the start fails the sandbox is removed
    /// again.
    pub async fn create(
        &self,
        caller: &Caller,
        request: api::CreateRequest,
    ) -> Result<api::Sandbox, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "create")?;
        let name = match &request.name {
            Some(name) => sandbox_name(name)?,
            None => made_up_name()?,
        };
        let span = tracing::info_span!("create", sandbox = name.as_str());
        let result = self.inner.create(caller, name.clone(), request).instrument(span).await;
        self.inner.write_down(caller, "create", &name, result.as_ref().err());
        result
    }

    /// All sandboxes by name whose labels are all of `labels`: `KEY=VALUE`, or `KEY` for any value.
    pub async fn list(&self, caller: &Caller, labels: &[String]) -> Result<Vec<api::Sandbox>, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "list")?;
        let mut all = self.inner.all_sandboxes().await?;
        all.retain(|sandbox| labels.iter().all(|label| has_label(sandbox, label)));
        Ok(all)
    }

    /// One sandbox.
    pub async fn info(&self, caller: &Caller, name: &str) -> Result<api::Sandbox, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "info")?;
        let view = self.inner.engine.info(&sandbox_name(name)?).await?;
        Ok(view::sandbox(&view))
    }

    /// Starts a sandbox; fine if it runs.
    pub async fn start(&self, caller: &Caller, name: &str) -> Result<api::Sandbox, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "start")?;
        let name = sandbox_name(name)?;
        let result = self.inner.start(&name).await;
        self.inner.write_down(caller, "start", &name, result.as_ref().err());
        if result.is_ok() {
            self.inner.events.emit(EventKind::SandboxStarted, Some(name.as_str()), []);
        }
        result.map(|view| view::sandbox(&view))
    }

    /// Stops a sandbox; its files are kept. Fine if it is stopped.
    pub async fn stop(
        &self,
        caller: &Caller,
        name: &str,
        request: api::StopRequest,
    ) -> Result<api::Sandbox, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "stop")?;
        let name = sandbox_name(name)?;
        let grace = request.grace_ms.map_or(GRACE, Duration::from_millis);
        if grace > MAX_GRACE {
            let most = MAX_GRACE.as_millis();
            return Err(ServiceError::invalid("grace_ms", format_args!("{most} at most")));
        }
        let (engine, sandbox) = (self.inner.engine.clone(), name.clone());
        let result = self
            .inner
            .to_the_end(async move {
                engine.stop(&sandbox, grace).await?;
                engine.info(&sandbox).await
            })
            .await?
            .map_err(ServiceError::from);
        self.inner.write_down(caller, "stop", &name, result.as_ref().err());
        if result.is_ok() {
            self.inner.events.emit(EventKind::SandboxStopped, Some(name.as_str()), []);
        }
        result.map(|view| view::sandbox(&view))
    }

    /// Removes a sandbox and all in it; a running one only with `force`. `false`: there was none by that name.
    pub async fn remove(&self, caller: &Caller, name: &str, force: bool) -> Result<bool, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "remove")?;
        let name = sandbox_name(name)?;
        let (engine, sandbox) = (self.inner.engine.clone(), name.clone());
        let removed = self.inner.to_the_end(async move { engine.remove(&sandbox, force).await }).await?;
        match removed.map_err(ServiceError::from) {
            Err(error) if error.code == ErrorCode::NotFound => Ok(false),
            result => {
                self.inner.write_down(caller, "remove", &name, result.as_ref().err());
                result?;
                self.inner.terminals.close_of(name.as_str());
                self.inner.events.emit(EventKind::SandboxRemoved, Some(name.as_str()), []);
                Ok(true)
            }
        }
    }

    /// The processes of a running sandbox.
    pub async fn processes(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<Vec<api::ProcessInfo>, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "processes")?;
        let inside = self.inner.inside(name).await?;
        let processes = inside.guest.processes().await.map_err(ServiceError::inside)?;
        Ok(processes.iter().map(view::process).collect())
    }
}

impl Inner {
    async fn create(
        self: &Arc<Self>,
        caller: &Caller,
        name: SandboxName,
        mut request: api::CreateRequest,
    ) -> Result<api::Sandbox, ServiceError> {
        let files = std::mem::take(&mut request.files);
        let contents = initial_files(files, self.limits.max_file_bytes_in_json)?;
        let (wish, extras) = SandboxWish::of_create(&request, name.clone())?;
        self.admission.count(caller)?;
        let plan = self.plan_sandbox(caller, &wish, &extras, Lifetime::Persistent, &()).await?;
        let place = self.admission.start().await?;
        let engine = self.engine.clone();
        let start = request.start;
        let made = name.clone();
        let view = self
            .to_the_end(async move {
                let _place = place;
                let view = engine.create_with(&made, plan.spec, &plan.files, contents, plan.config_file).await?;
                if !start {
                    return Ok(view);
                }
                match engine.start(&made).await {
                    Ok(view) => Ok(view),
                    Err(error) => {
                        // All or nothing. Somebody else may have removed it meanwhile.
                        if let Err(left) = engine.remove(&made, true).await {
                            tracing::warn!(sandbox = %made, error = %left, "a sandbox that can't start is left");
                        }
                        Err(ServiceError::from(error))
                    }
                }
            })
            .await??;
        self.events.emit(EventKind::SandboxCreated, Some(name.as_str()), [("image", view.image.to_string())]);
        if start {
            self.events.emit(EventKind::SandboxStarted, Some(name.as_str()), []);
        }
        Ok(view::sandbox(&view))
    }

    async fn start(&self, name: &SandboxName) -> Result<SandboxView, ServiceError> {
        let place = self.admission.start().await?;
        let (engine, sandbox) = (self.engine.clone(), name.clone());
        let started = self.to_the_end(async move {
            let _place = place;
            engine.start(&sandbox).await
        });
        Ok(started.await??)
    }

    /// Writes down what was done with a sandbox.
    pub(crate) fn write_down(
        &self,
        caller: &Caller,
        action: &'static str,
        name: &SandboxName,
        error: Option<&ServiceError>,
    ) {
        self.write_down_of(caller, action, Some(name), error);
    }

    /// The same where the sandbox may not be known.
    pub(crate) fn write_down_of(
        &self,
        caller: &Caller,
        action: &'static str,
        name: Option<&SandboxName>,
        error: Option<&ServiceError>,
    ) {
        let verdict = match error {
            None => Verdict::Allowed,
            // It is in the log already.
            Some(error) if error.code == ErrorCode::Forbidden => return,
            Some(error) if error.code == ErrorCode::QuotaExceeded => Verdict::Denied,
            Some(_) => Verdict::Failed,
        };
        self.audit.record(AuditEntry {
            sandbox: name.map(ToString::to_string),
            verdict,
            why: error.map(|error| error.message.clone()),
            ..entry(caller, action)
        });
    }
}

fn has_label(sandbox: &api::Sandbox, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => sandbox.labels.get(key).is_some_and(|found| found == value),
        None => sandbox.labels.contains_key(label),
    }
}

fn made_up_name() -> Result<SandboxName, ServiceError> {
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty()).map_err(|errno| {
        ServiceError::new(ErrorCode::Failed, format!("could not make up a name: {errno}"))
    })?;
    sandbox_name(&format!("sandbox-{:08x}", u32::from_ne_bytes(random)))
}
