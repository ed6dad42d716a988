//! The service over the strict fake backend.

mod executions;
mod files;
mod limits;
mod policy;
mod running;
mod sandboxes;
mod shutdown;
mod snapshots;
mod terminals;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkernel_api::{AuditRecord, CreateRequest, ErrorCode, ExecRequest, RunRequest, RunResult, Sandbox};
use agentkernel_backend::Registry;
use agentkernel_config::Environment;
use agentkernel_engine::Engine;
use agentkernel_store::Store;
use agentkernel_testkit::fake::FakeBackend;

use crate::{
    AuditEntry, AuditSink, Caller, Input, Limits, Quota, Scope, Service, ServiceError, ServiceSettings,
    Verdict,
};

/// A service, its fake, what it has written down, and the folder that it keeps its state in.
pub(crate) struct Bench {
    pub(crate) fake: FakeBackend,
    pub(crate) service: Service,
    pub(crate) audit: Arc<Remembered>,
    _dir: tempfile::TempDir,
}

/// An audit log in memory.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<Vec<AuditEntry>>);

impl Remembered {
    /// Action and verdict of each entry.
    pub(crate) fn actions(&self) -> Vec<(&'static str, Verdict)> {
        self.0.lock().unwrap().iter().map(|entry| (entry.action, entry.verdict)).collect()
    }

    pub(crate) fn entries(&self) -> Vec<AuditEntry> {
        self.0.lock().unwrap().clone()
    }
}

impl AuditSink for Remembered {
    fn record(&self, entry: AuditEntry) {
        self.0.lock().unwrap().push(entry);
    }

    fn recent(&self, sandbox: Option<&str>, limit: usize) -> Result<Vec<AuditRecord>, std::io::Error> {
        let entries = self.0.lock().unwrap();
        let of = |entry: &&AuditEntry| sandbox.is_none() || entry.sandbox.as_deref() == sandbox;
        let records = entries
            .iter()
            .filter(of)
            .map(|entry| AuditRecord { action: entry.action.to_owned(), ..AuditRecord::default() });
        Ok(records.take(limit).collect())
    }
}

pub(crate) fn environment(cwd: &Path) -> Environment {
    Environment {
        cwd: cwd.to_owned(),
        home: Some("/root".into()),
        user: Some("root".to_owned()),
        uid: 0,
        vars: vec![("PATH".into(), "/usr/bin:/bin".into())],
        interactive_stdin: false,
        interactive_stdout: false,
        interactive_stderr: false,
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::of(FakeBackend::new(), limits)
    }

    pub(crate) fn of(fake: FakeBackend, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Where the server was started lies a file that must not count.
        std::fs::write(dir.path().join("agentkernel.toml"), "[security]\nprofile = \"restrictive\"\n")
            .unwrap();
        let state_dir = dir.path().join("state");
        let mut backends = Registry::new();
        backends.add(Arc::new(fake.clone()), true);
        let engine = Engine::open(Store::open(&state_dir).unwrap(), backends);
        let settings = ServiceSettings {
            environment: environment(dir.path()),
            config: None,
            limits,
            version: "0.0.0",
            state_dir,
            images: None,
        };
        let audit = Arc::new(Remembered::default());
        let service = Service::new(engine, None, Arc::clone(&audit) as _, settings).unwrap();
        Self { fake, service, audit, _dir: dir }
    }

    /// Runs a script to its end.
    pub(crate) async fn run(&self, script: &str) -> RunResult {
        self.try_run(sh(script)).await.unwrap()
    }

    pub(crate) async fn try_run(&self, request: RunRequest) -> Result<RunResult, ServiceError> {
        self.service.run(&admin(), request, Input::Request).await?.collect().await
    }

    /// A running sandbox.
    pub(crate) async fn sandbox(&self, name: &str) -> Sandbox {
        let request = CreateRequest { name: Some(name.to_owned()), start: true, ..CreateRequest::default() };
        self.service.create(&admin(), request).await.unwrap()
    }

    /// Waits until every box is gone, and that nothing of any is left.
    pub(crate) async fn settle(&self) {
        let idle = self.service.inner.activity.idle();
        tokio::time::timeout(Duration::from_secs(20), idle).await.expect("everything ends");
    }

    /// Nothing is left of any run on the machine, and the backend was used as it wants.
    pub(crate) async fn assert_clean(&self) {
        self.settle().await;
        assert_eq!(self.fake.objects(), [""; 0]);
        self.fake.assert_clean();
    }
}

pub(crate) fn sh(script: &str) -> RunRequest {
    RunRequest { command: words(script), fast: true, ..RunRequest::default() }
}

pub(crate) fn exec(script: &str) -> ExecRequest {
    ExecRequest { command: words(script), ..ExecRequest::default() }
}

fn words(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

pub(crate) fn admin() -> Caller {
    Caller::local("test")
}

pub(crate) fn caller(scope: Scope, quota: Option<Quota>) -> Caller {
    Caller { name: "key".to_owned(), scope, quota, from: "test".to_owned() }
}

/// The code of a refusal.
#[track_caller]
pub(crate) fn code<T>(result: Result<T, ServiceError>) -> ErrorCode {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.code,
    }
}
