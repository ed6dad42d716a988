//! The verbs on one sandbox that stays.

use agentkernel_api::{
    AuditRecord, ExecRequest, ExecutionInfo, ForkRequest, KillRequest, ProcessInfo, RunResult, Sandbox,
    Snapshot, SnapshotRequest, StartedExecution, StopRequest,
};
use hyper::header::HeaderValue;
use serde_json::Value;

use crate::call::{Call, EVENTS, FRAMES};
use crate::logs::LAST_EVENT_ID;
use crate::path::{of_sandbox, part};
use crate::{AgentKernel, ByteStream, Error, EventStream, FrameStream, LogStream};

/// How long a stop takes where the request doesn't say: SIGTERM, ten seconds, SIGKILL.
const STOP_GRACE_MS: u64 = 10_000;

/// How long the memory of a sandbox may take to be written or read, beyond what any answer takes.
pub(crate) const COPY_MS: u64 = 60_000;

/// A sandbox by its name: it need not exist.
#[derive(Debug, Clone)]
pub struct SandboxHandle {
    client: AgentKernel,
    name: String,
}

impl SandboxHandle {
    pub(crate) fn new(client: AgentKernel, name: String) -> Self {
        Self { client, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn client(&self) -> &AgentKernel {
        &self.client
    }

    pub(crate) fn route(&self, rest: &str) -> String {
        of_sandbox(&self.name, rest)
    }

    /// All about it.
    pub async fn info(&self) -> Result<Sandbox, Error> {
        self.client.data(Call::get(self.route(""))).await
    }

    /// Starts it; one that runs stays as it is.
    pub async fn start(&self) -> Result<Sandbox, Error> {
        self.client.data(Call::post(self.route("/start"))).await
    }

    /// Stops it; its files stay.
    pub async fn stop(&self, request: &StopRequest) -> Result<Sandbox, Error> {
        let grace = request.grace_ms.unwrap_or(STOP_GRACE_MS);
        self.client.data(Call::post(self.route("/stop")).json(request)?.takes(grace)).await
    }

    /// Stops its time; one that stands still stays as it is.
    pub async fn pause(&self) -> Result<Sandbox, Error> {
        self.client.data(Call::post(self.route("/pause"))).await
    }

    /// Lets it go on after a pause; one that runs stays as it is.
    pub async fn resume(&self) -> Result<Sandbox, Error> {
        self.client.data(Call::post(self.route("/resume"))).await
    }

    /// Copies it, running or paused; it goes on, and its children run. All of them are made, or none.
    pub async fn fork(&self, request: &ForkRequest) -> Result<Vec<Sandbox>, Error> {
        let takes = COPY_MS.saturating_mul(u64::from(request.count.unwrap_or(1)));
        self.client.data(Call::post(self.route("/fork")).json(request)?.takes(takes)).await
    }

    /// Keeps it as it runs, under this name or one that the server chooses; it goes on.
    pub async fn snapshot(&self, name: Option<&str>) -> Result<Snapshot, Error> {
        let request = SnapshotRequest { sandbox: self.name.clone(), name: name.map(str::to_owned) };
        self.client.data(Call::post("/snapshots").json(&request)?.takes(COPY_MS)).await
    }

    /// Removes it, running or not. One that is not there is no error.
    pub async fn remove(&self) -> Result<(), Error> {
        self.client.data::<Value>(Call::delete(self.route(""))).await.map(drop)
    }

    /// Runs a command in it and waits for its end.
    pub async fn exec(&self, request: &ExecRequest) -> Result<RunResult, Error> {
        self.client.data(self.exec_call("/exec", request)?).await
    }

    /// The same with its output as it comes, as events. Dropping the stream ends the command.
    pub async fn exec_stream(&self, request: &ExecRequest) -> Result<EventStream, Error> {
        let call = self.exec_call("/exec/stream", request)?.accept(EVENTS);
        self.client.stream(call).await.map(EventStream::new)
    }

    /// The same with its output as it comes, byte for byte. Dropping the stream ends the command.
    pub async fn exec_frames(&self, request: &ExecRequest) -> Result<FrameStream, Error> {
        let call = self.exec_call("/exec", request)?.accept(FRAMES);
        self.client.stream(call).await.map(FrameStream::new)
    }

    fn exec_call(&self, route: &str, request: &ExecRequest) -> Result<Call, Error> {
        let call = Call::post(self.route(route)).json(request)?;
        Ok(call.takes(request.timeout_ms.unwrap_or(0)))
    }

    /// Starts a command that outlives this call; its output is kept in the sandbox.
    pub async fn exec_detached(&self, request: &ExecRequest) -> Result<StartedExecution, Error> {
        self.client.data(Call::post(self.route("/execs")).json(request)?).await
    }

    /// Its commands.
    pub async fn executions(&self) -> Result<Vec<ExecutionInfo>, Error> {
        self.client.data(Call::get(self.route("/execs"))).await
    }

    /// One of its commands.
    pub async fn execution(&self, id: &str) -> Result<ExecutionInfo, Error> {
        self.client.data(Call::get(self.route(&format!("/execs/{}", part(id))))).await
    }

    /// Sends a signal to one of its commands.
    pub async fn kill(&self, id: &str, request: &KillRequest) -> Result<(), Error> {
        let call = Call::post(self.route(&format!("/execs/{}/kill", part(id)))).json(request)?;
        self.client.data::<Value>(call).await.map(drop)
    }

    /// The output of a detached command from byte `offset` of its log on; with `follow` until the command has ended,
    /// else what is there now.
    pub async fn logs(&self, id: &str, offset: u64, follow: bool) -> Result<LogStream, Error> {
        LogStream::open(self.clone(), id.to_owned(), offset, None, follow).await
    }

    /// The same from a place that an earlier stream has come to ([`crate::LogChunk::position`]): no byte is lost or
    /// comes twice.
    pub async fn logs_after(&self, id: &str, position: &str, follow: bool) -> Result<LogStream, Error> {
        LogStream::open(self.clone(), id.to_owned(), 0, Some(position.to_owned()), follow).await
    }

    pub(crate) async fn open_logs(
        &self,
        id: &str,
        offset: u64,
        position: Option<&str>,
        follow: bool,
    ) -> Result<ByteStream, Error> {
        let route = format!("/execs/{}/logs?offset={offset}&follow={follow}&encoding=base64", part(id));
        let mut call = Call::get(self.route(&route)).accept(EVENTS);
        if let Some(position) = position {
            let value = HeaderValue::try_from(position).map_err(|error| Error::Request {
                what: "a position in a log",
                problem: error.to_string(),
            })?;
            call = call.header(LAST_EVENT_ID, value);
        }
        self.client.stream(call).await
    }

    /// Its processes.
    pub async fn processes(&self) -> Result<Vec<ProcessInfo>, Error> {
        self.client.data(Call::get(self.route("/processes"))).await
    }

    /// What the audit log has on it, newest last.
    pub async fn audit_log(&self, limit: u32) -> Result<Vec<AuditRecord>, Error> {
        self.client.data(Call::get(self.route(&format!("/logs?limit={limit}")))).await
    }
}
