//! Sandboxes that stand still, snapshots, and copies.

use agentkernel_api::{self as api, ErrorCode, EventKind};
use agentkernel_engine::{EngineError, SandboxView};
use agentkernel_model::SandboxName;

use crate::request::{parse, sandbox_name, snapshot_name};
use crate::service::Inner;
use crate::{Caller, Scope, Service, ServiceError, view};

impl Service {
    /// Stops a running sandbox's time. Fine if it stands still.
    pub async fn pause(&self, caller: &Caller, name: &str) -> Result<api::Sandbox, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "pause")?;
        let name = sandbox_name(name)?;
        let (engine, sandbox) = (self.inner.engine.clone(), name.clone());
        let paused = self.inner.to_the_end(async move { engine.pause(&sandbox).await }).await?;
        self.inner.told(caller, "pause", &name, EventKind::SandboxPaused, paused)
    }

    /// Lets a paused sandbox go on. Fine if it does.
    pub async fn resume(&self, caller: &Caller, name: &str) -> Result<api::Sandbox, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "resume")?;
        let name = sandbox_name(name)?;
        let (engine, sandbox) = (self.inner.engine.clone(), name.clone());
        let resumed = self.inner.to_the_end(async move { engine.resume(&sandbox).await }).await?;
        self.inner.told(caller, "resume", &name, EventKind::SandboxResumed, resumed)
    }

    /// Copies a running or paused sandbox; it goes on, and its children run. All of them are made, or none.
    pub async fn fork(
        &self,
        caller: &Caller,
        name: &str,
        request: api::ForkRequest,
    ) -> Result<Vec<api::Sandbox>, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "fork")?;
        let name = sandbox_name(name)?;
        let child = optional_name(request.as_name.as_deref())?;
        self.inner.admission.count(caller)?;
        let place = self.inner.admission.start().await?;
        let (engine, sandbox) = (self.inner.engine.clone(), name.clone());
        let forked = self.inner.to_the_end(async move {
            let _place = place;
            engine.fork(&sandbox, request.count.unwrap_or(1), child.as_ref()).await
        });
        let forked = forked.await?.map_err(ServiceError::from);
        self.inner.write_down(caller, "fork", &name, forked.as_ref().err());
        let children = forked?;
        for child in &children {
            self.inner.tell_copy(child, "source", name.as_str());
        }
        Ok(children.iter().map(view::sandbox).collect())
    }

    /// All snapshots by name.
    pub async fn snapshots(&self, caller: &Caller) -> Result<Vec<api::Snapshot>, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "snapshots")?;
        let engine = self.inner.engine.clone();
        let all = self.inner.blocking(move || engine.snapshots()).await??;
        Ok(all.iter().map(view::snapshot).collect())
    }

    /// One snapshot.
    pub async fn snapshot(&self, caller: &Caller, name: &str) -> Result<api::Snapshot, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "snapshot")?;
        let (engine, name) = (self.inner.engine.clone(), snapshot_name(name)?);
        Ok(view::snapshot(&self.inner.blocking(move || engine.snapshot(&name)).await??))
    }

    /// Keeps a running or paused sandbox as it is; it goes on as before.
    pub async fn take_snapshot(
        &self,
        caller: &Caller,
        request: api::SnapshotRequest,
    ) -> Result<api::Snapshot, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "snapshot_take")?;
        let name: SandboxName = parse("sandbox", &request.sandbox)?;
        let wanted = request.name.as_deref().map(snapshot_name).transpose()?;
        self.inner.admission.count(caller)?;
        let (engine, sandbox) = (self.inner.engine.clone(), name.clone());
        let taken = self
            .inner
            .to_the_end(async move { engine.take_snapshot(&sandbox, wanted.as_ref()).await })
            .await?
            .map_err(ServiceError::from);
        self.inner.write_down(caller, "snapshot_take", &name, taken.as_ref().err());
        let taken = taken?;
        let fields = [("snapshot", taken.name.to_string())];
        self.inner.events.emit(EventKind::SnapshotTaken, Some(name.as_str()), fields);
        Ok(view::snapshot(&taken))
    }

    /// Makes a sandbox that goes on where a snapshot was taken, and runs.
    pub async fn restore_snapshot(
        &self,
        caller: &Caller,
        name: &str,
        request: api::RestoreRequest,
    ) -> Result<api::Sandbox, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "snapshot_restore")?;
        let snapshot = snapshot_name(name)?;
        let sandbox = optional_name(request.as_name.as_deref())?;
        let named = sandbox.clone().map_or_else(|| sandbox_name(snapshot.as_str()), Ok)?;
        self.inner.admission.count(caller)?;
        let place = self.inner.admission.start().await?;
        let (engine, wanted) = (self.inner.engine.clone(), snapshot.clone());
        let restored = self.inner.to_the_end(async move {
            let _place = place;
            engine.restore_snapshot(&wanted, sandbox.as_ref()).await
        });
        let restored = restored.await?.map_err(ServiceError::from);
        self.inner.write_down(caller, "snapshot_restore", &named, restored.as_ref().err());
        let restored = restored?;
        self.inner.tell_copy(&restored, "snapshot", snapshot.as_str());
        Ok(view::sandbox(&restored))
    }

    /// Removes a snapshot; sandboxes that were restored from it stay. `false`: there was none by that name.
    pub async fn remove_snapshot(&self, caller: &Caller, name: &str) -> Result<bool, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "snapshot_remove")?;
        let snapshot = snapshot_name(name)?;
        let (engine, wanted) = (self.inner.engine.clone(), snapshot.clone());
        let removed = self.inner.to_the_end(async move {
            // It is told of which sandbox it was; a damaged one can't say.
            let source = engine.snapshot(&wanted).ok().map(|view| view.source);
            engine.remove_snapshot(&wanted).await.map(|()| source)
        });
        let removed = removed.await?.map_err(ServiceError::from);
        let source = match removed {
            Err(error) if error.code == ErrorCode::NotFound => return Ok(false),
            Err(error) => {
                self.inner.write_down_of(caller, "snapshot_remove", None, Some(&error));
                return Err(error);
            }
            Ok(source) => source,
        };
        self.inner.write_down_of(caller, "snapshot_remove", source.as_ref(), None);
        let fields = [("snapshot", snapshot.to_string())];
        let source = source.as_ref().map(SandboxName::as_str);
        self.inner.events.emit(EventKind::SnapshotRemoved, source, fields);
        Ok(true)
    }
}

fn optional_name(text: Option<&str>) -> Result<Option<SandboxName>, ServiceError> {
    text.map(|text| parse("as_name", text)).transpose()
}

impl Inner {
    /// What became of a verb on one sandbox: written down, and told to all.
    fn told(
        &self,
        caller: &Caller,
        action: &'static str,
        name: &SandboxName,
        kind: EventKind,
        done: Result<SandboxView, EngineError>,
    ) -> Result<api::Sandbox, ServiceError> {
        let done = done.map_err(ServiceError::from);
        self.write_down(caller, action, name, done.as_ref().err());
        let view = done?;
        self.events.emit(kind, Some(name.as_str()), []);
        Ok(view::sandbox(&view))
    }

    /// Tells of a sandbox that is a copy, and of what.
    fn tell_copy(&self, view: &SandboxView, of: &'static str, what: &str) {
        let name = Some(view.name.as_str());
        let fields = [("image", view.image.to_string()), (of, what.to_owned())];
        self.events.emit(EventKind::SandboxCreated, name, fields);
        self.events.emit(EventKind::SandboxStarted, name, []);
    }
}
