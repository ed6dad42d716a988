//! The verbs that are about no one sandbox, or about all of them; and the names by which the documents know the rest.

use agentkernel_api::{
    AuditRecord, BackendInfo, BatchRequest, BatchResults, CreateRequest, DrainReport, ExecRequest, Health,
    ImageInfo, PoolStatus, PullRequest, RestoreRequest, RunRequest, RunResult, Sandbox, Snapshot, Stats,
    Version, WarmRequest,
};
use hyper::header::HeaderValue;
use serde_json::Value;

use crate::call::{Call, EVENTS, FRAMES};
use crate::logs::LAST_EVENT_ID;
use crate::path::part;
use crate::sandbox::COPY_MS;
use crate::stream::pulled;
use crate::{AgentKernel, Error, EventStream, FrameStream, SandboxHandle, ServerEvents};

/// How many entries of the audit log are asked for by [`AgentKernel::get_sandbox_logs`].
const AUDIT_ENTRIES: u32 = 100;

impl AgentKernel {
    /// `ok`.
    pub async fn health(&self) -> Result<Health, Error> {
        self.data(Call::get("/health")).await
    }

    /// Who answers.
    pub async fn version(&self) -> Result<Version, Error> {
        self.data(Call::get("/version")).await
    }

    /// Runs a command in a sandbox of its own and waits for its end.
    pub async fn run(&self, request: &RunRequest) -> Result<RunResult, Error> {
        self.data(run_call("/run", request)?).await
    }

    /// The same with its output as it comes, as events. Dropping the stream ends the command.
    pub async fn run_stream(&self, request: &RunRequest) -> Result<EventStream, Error> {
        self.stream(run_call("/run/stream", request)?.accept(EVENTS)).await.map(EventStream::new)
    }

    /// The same with its output as it comes, byte for byte. Dropping the stream ends the command.
    pub async fn run_frames(&self, request: &RunRequest) -> Result<FrameStream, Error> {
        self.stream(run_call("/run", request)?.accept(FRAMES)).await.map(FrameStream::new)
    }

    /// Runs several commands at once, each in a sandbox of its own.
    pub async fn batch_run(&self, request: &BatchRequest) -> Result<BatchResults, Error> {
        let limits = request.commands.iter().filter_map(|command| command.timeout_ms);
        // At worst one after the other.
        let takes = limits.fold(0_u64, u64::saturating_add);
        self.data(Call::post("/batch/run").json(request)?.takes(takes)).await
    }

    /// All sandboxes that have these labels.
    pub async fn list_sandboxes(&self, labels: &[(&str, &str)]) -> Result<Vec<Sandbox>, Error> {
        let query: Vec<String> =
            labels.iter().map(|(key, value)| format!("label={}", part(&format!("{key}={value}")))).collect();
        let route = if query.is_empty() {
            "/sandboxes".to_owned()
        } else {
            format!("/sandboxes?{}", query.join("&"))
        };
        self.data(Call::get(route)).await
    }

    /// Makes a sandbox that stays, and starts it unless the request says otherwise.
    pub async fn create_sandbox(&self, request: &CreateRequest) -> Result<Sandbox, Error> {
        self.data(Call::post("/sandboxes").json(request)?).await
    }

    /// See [`SandboxHandle::info`].
    pub async fn get_sandbox(&self, name: &str) -> Result<Sandbox, Error> {
        self.sandbox(name).info().await
    }

    /// See [`SandboxHandle::remove`].
    pub async fn remove_sandbox(&self, name: &str) -> Result<(), Error> {
        self.sandbox(name).remove().await
    }

    /// See [`SandboxHandle::exec`].
    pub async fn exec_in_sandbox(&self, name: &str, request: &ExecRequest) -> Result<RunResult, Error> {
        self.sandbox(name).exec(request).await
    }

    /// See [`SandboxHandle::read_file`].
    pub async fn read_file(&self, name: &str, path: &str) -> Result<Vec<u8>, Error> {
        self.sandbox(name).read_file(path).await
    }

    /// See [`SandboxHandle::write_file`].
    pub async fn write_file(&self, name: &str, path: &str, content: Vec<u8>) -> Result<(), Error> {
        self.sandbox(name).write_file(path, content).await
    }

    /// See [`SandboxHandle::delete_file`].
    pub async fn delete_file(&self, name: &str, path: &str) -> Result<(), Error> {
        self.sandbox(name).delete_file(path, false).await
    }

    /// See [`SandboxHandle::audit_log`].
    pub async fn get_sandbox_logs(&self, name: &str) -> Result<Vec<AuditRecord>, Error> {
        self.sandbox(name).audit_log(AUDIT_ENTRIES).await
    }

    /// Makes a sandbox, does the work, and removes it whatever came of the work. The work's error counts more than the
    /// removal's. A caller that is dropped in between leaves the sandbox behind.
    pub async fn with_sandbox<T>(
        &self,
        request: &CreateRequest,
        work: impl AsyncFnOnce(SandboxHandle) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let made = self.create_sandbox(request).await?;
        let sandbox = self.sandbox(made.name);
        let done = work(sandbox.clone()).await;
        let removed = sandbox.remove().await;
        let value = done?;
        removed.map(|()| value)
    }

    /// What happens on the server from now on; with `after`, from the event with that number on.
    pub async fn events(&self, after: Option<u64>) -> Result<ServerEvents, Error> {
        let mut call = Call::get("/events").accept(EVENTS);
        if let Some(id) = after {
            call = call.header(LAST_EVENT_ID, HeaderValue::from(id));
        }
        self.stream(call).await.map(ServerEvents::new)
    }

    /// What the server does and has done.
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.data(Call::get("/stats")).await
    }

    /// The same for Prometheus, in its text format.
    pub async fn metrics(&self) -> Result<String, Error> {
        let bytes = self.whole(Call::get("/metrics")).await?;
        String::from_utf8(bytes)
            .map_err(|error| Error::Answer { to: self.address(), problem: error.to_string() })
    }

    /// The backends of the server.
    pub async fn backends(&self) -> Result<Vec<BackendInfo>, Error> {
        self.data(Call::get("/backends")).await
    }

    /// The images that are there.
    pub async fn images(&self) -> Result<Vec<ImageInfo>, Error> {
        self.data(Call::get("/images")).await
    }

    /// Fetches an image; `told` hears how far it is. Takes as long as it takes: only silence is an error.
    pub async fn pull_image(
        &self,
        request: &PullRequest,
        told: impl FnMut(&str),
    ) -> Result<ImageInfo, Error> {
        let bytes = self.stream(Call::post("/images/pull").json(request)?.accept(EVENTS)).await?;
        pulled(bytes, told).await
    }

    /// The sandboxes that wait to be used.
    pub async fn pool(&self) -> Result<PoolStatus, Error> {
        self.data(Call::get("/pool")).await
    }

    /// Makes sandboxes ready for commands to come.
    pub async fn warm_pool(&self, request: &WarmRequest) -> Result<PoolStatus, Error> {
        self.data(Call::post("/pool/warm").json(request)?).await
    }

    /// Ends the sandboxes that wait.
    pub async fn drain_pool(&self) -> Result<DrainReport, Error> {
        self.data(Call::post("/pool/drain")).await
    }

    /// All snapshots.
    pub async fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        self.data(Call::get("/snapshots")).await
    }

    /// One snapshot.
    pub async fn get_snapshot(&self, name: &str) -> Result<Snapshot, Error> {
        self.data(Call::get(format!("/snapshots/{}", part(name)))).await
    }

    /// Makes a sandbox that goes on where the snapshot was taken, and runs.
    pub async fn restore_snapshot(&self, name: &str, request: &RestoreRequest) -> Result<Sandbox, Error> {
        let call = Call::post(format!("/snapshots/{}/restore", part(name)));
        self.data(call.json(request)?.takes(COPY_MS)).await
    }

    /// Removes a snapshot; sandboxes that were restored from it stay. One that is not there is no error.
    pub async fn remove_snapshot(&self, name: &str) -> Result<(), Error> {
        self.data::<Value>(Call::delete(format!("/snapshots/{}", part(name)))).await.map(drop)
    }

    /// The newest entries of the audit log.
    pub async fn audit_log(&self, limit: u32) -> Result<Vec<AuditRecord>, Error> {
        self.data(Call::get(format!("/audit?limit={limit}"))).await
    }

    /// Ends the server once what runs has ended, or its time for that is up. Only over the unix socket.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.data::<Value>(Call::post("/shutdown")).await.map(drop)
    }
}

fn run_call(route: &str, request: &RunRequest) -> Result<Call, Error> {
    Ok(Call::post(route).json(request)?.takes(request.timeout_ms.unwrap_or(0)))
}
