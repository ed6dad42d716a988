//! The engine over the strict fake backend.

mod building;
mod cancelled;
mod copying;
mod files;
mod forwarding;
mod images;
mod lifecycle;
mod planning;
mod recovery;
mod running;
mod selection;
mod snapshots;

use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{Execution, Registry};
use agentkernel_model::{EnvVar, Outcome, SandboxName, SandboxSpec};
use agentkernel_store::Store;
use agentkernel_testkit::fake::FakeBackend;
use agentkernel_testkit::plain_spec;
use tokio::io::AsyncReadExt;

use crate::{Engine, ExecPlan, RunPlan};

/// An engine, its fake, and the folder it keeps its state in.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) fake: FakeBackend,
    pub(crate) engine: Engine,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(FakeBackend::new())
    }

    pub(crate) fn with(fake: FakeBackend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(&dir, &fake);
        Self { dir, fake, engine }
    }

    /// Another process on the same machine.
    pub(crate) fn another(&self) -> Engine {
        engine(&self.dir, &self.fake.another_process())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let all = self.engine.store().list().unwrap();
        all.into_iter().map(|(name, _)| name.to_string()).collect()
    }

    /// Nothing is left of anything, on disk or on the machine, and the backend was used as it wants.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.fake.objects(), [""; 0]);
        assert_eq!(self.names(), [""; 0]);
        let sandboxes = self.engine.store().state_dir().join("sandboxes");
        let left: Vec<_> = std::fs::read_dir(sandboxes)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".making.lock")
            .collect();
        assert_eq!(left, [""; 0]);
    }
}

pub(crate) fn engine(dir: &tempfile::TempDir, fake: &FakeBackend) -> Engine {
    let mut backends = Registry::new();
    backends.add(Arc::new(fake.clone()), true);
    let store = Store::open(&dir.path().join("state")).unwrap().with_patience(Duration::from_secs(20));
    Engine::open(store, backends)
}

pub(crate) fn name(text: &str) -> SandboxName {
    text.parse().unwrap()
}

pub(crate) fn var(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: value.into() }
}

pub(crate) fn spec() -> SandboxSpec {
    SandboxSpec {
        env: vec![var("PATH", "/usr/bin:/bin"), var("HOME", "/root")],
        hostname: "agentkernel".to_owned(),
        ..plain_spec(&"fake".parse().unwrap())
    }
}

pub(crate) fn sh(script: &str) -> ExecPlan {
    ExecPlan::new(["sh", "-c", script])
}

pub(crate) fn plan(command: ExecPlan) -> RunPlan {
    RunPlan {
        spec: spec(),
        command,
        files: Vec::new(),
        keep: None,
        name: None,
        warm: true,
        config_file: None,
    }
}

/// Both streams to their ends, then the outcome.
pub(crate) async fn drain(execution: &mut Execution) -> (String, String, Outcome) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    execution.stdout.read_to_end(&mut out).await.unwrap();
    if let Some(stderr) = &mut execution.stderr {
        stderr.read_to_end(&mut err).await.unwrap();
    }
    let outcome = execution.control.wait().await.unwrap();
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), outcome)
}

/// A command's standard output in a running sandbox; it must succeed.
pub(crate) async fn output(engine: &Engine, sandbox: &str, script: &str) -> String {
    let mut execution = engine.exec(&name(sandbox), sh(script)).await.unwrap();
    let (out, err, outcome) = drain(&mut execution).await;
    assert_eq!(outcome, Outcome::Exited(0), "{script}: {err}");
    out
}
