//! A service over a fake, and a server over that.

use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::Registry;
use agentkernel_config::Environment;
use agentkernel_engine::Engine;
use agentkernel_mcp::{McpSettings, StdioError};
use agentkernel_service::{Caller, Limits, NoAudit, Scope, Service, ServiceSettings};
use agentkernel_store::Store;
use agentkernel_testkit::fake::FakeBackend;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A fake machine with a service.
pub(crate) struct Bench {
    _dir: tempfile::TempDir,
    pub(crate) fake: FakeBackend,
    pub(crate) service: Service,
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: JoinHandle<Result<(), StdioError>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(FakeBackend::new())
    }

    pub(crate) fn with(fake: FakeBackend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("state");
        let mut backends = Registry::new();
        backends.add(Arc::new(fake.clone()), true);
        let store = Store::open(&state_dir).unwrap().with_patience(PATIENCE);
        let environment = Environment {
            cwd: dir.path().to_owned(),
            home: Some(dir.path().to_owned()),
            user: None,
            uid: 1000,
            vars: Vec::new(),
            interactive_stdin: false,
            interactive_stdout: false,
            interactive_stderr: false,
        };
        let settings = ServiceSettings {
            environment,
            config: None,
            limits: Limits::default(),
            version: "0.0.0",
            state_dir,
            images: None,
        };
        let engine = Engine::open(store, backends);
        let service = Service::new(engine, None, Arc::new(NoAudit), settings).unwrap();
        Self { _dir: dir, fake, service }
    }

    pub(crate) fn settings() -> McpSettings {
        McpSettings { version: "0.0.0", list_aliases: true }
    }

    pub(crate) fn caller(scope: Scope) -> Caller {
        Caller { name: "mcp".to_owned(), scope, quota: None, from: "test".to_owned() }
    }

    /// A server, and the other end of its streams.
    pub(crate) fn serve(&self, scope: Scope) -> (DuplexStream, Running) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(theirs);
        let (stop, stopped) = oneshot::channel::<()>();
        let (service, caller) = (self.service.clone(), Self::caller(scope));
        let ended = tokio::spawn(async move {
            let stop = async move {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            agentkernel_mcp::serve(service, caller, Self::settings(), input, output, stop).await
        });
        (ours, Running { stop, ended })
    }

    /// A client that has introduced itself, in the newest version with a handshake.
    pub(crate) async fn client(&self) -> (Client, Running) {
        let (stream, running) = self.serve(Scope::Run);
        let mut client = Client::new(stream);
        client.introduce("2025-11-25").await;
        (client, running)
    }

    /// Waits until nothing of any box is left.
    pub(crate) async fn all_gone(&self) {
        let gone = async {
            while !self.fake.objects().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone)
            .await
            .unwrap_or_else(|_| panic!("left: {:?}", self.fake.objects()));
    }
}
