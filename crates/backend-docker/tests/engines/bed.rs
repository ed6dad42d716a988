//! The engines of the test bed.

use std::path::Path;
use std::sync::Arc;

use agentkernel_backend::{Backend, Probe, ReadyImage};
use agentkernel_backend_docker::{DockerBackend, EngineEnvironment, EngineKind, EngineSettings};
use agentkernel_model::{BoxPath, ByteString, EnvVar, ExecRequest, ImageRef, Outcome, SandboxSpec};
use agentkernel_testkit::conformance::{Skipped, Subject};
use bollard::Docker;
use tokio::io::AsyncReadExt;

/// An engine of the bed.
#[derive(Clone)]
pub(crate) struct Bed {
    pub(crate) kind: EngineKind,
    pub(crate) socket: String,
}

impl Bed {
    /// The one that `variable` names.
    pub(crate) fn find(kind: EngineKind, variable: &str) -> Result<Self, Skipped> {
        match std::env::var(variable) {
            Ok(socket) => Ok(Self { kind, socket }),
            Err(_) => {
                Err(Skipped(format!("{variable} names no engine: `cargo xtask test-bed start` makes them")))
            }
        }
    }

    /// Both, where they are there; says so where one is missing.
    pub(crate) fn all() -> Vec<Self> {
        let wanted = [
            (EngineKind::Docker, "AGENTKERNEL_TEST_DOCKER"),
            (EngineKind::Podman, "AGENTKERNEL_TEST_PODMAN"),
        ];
        let found = wanted.map(|(kind, variable)| Self::find(kind, variable));
        found.into_iter().filter_map(|bed| bed.map_err(|why| eprintln!("SKIPPED: {why}")).ok()).collect()
    }

    /// A backend of a process with its state in `state_dir`.
    pub(crate) fn open(&self, state_dir: &Path) -> Arc<dyn Backend> {
        self.open_with(state_dir, EngineSettings::default())
    }

    /// The same, with what a user says of the engine.
    pub(crate) fn open_with(&self, state_dir: &Path, settings: EngineSettings) -> Arc<dyn Backend> {
        let host = Some(format!("unix://{}", self.socket));
        let mut environment =
            EngineEnvironment { uid: rustix::process::geteuid().as_raw(), ..EngineEnvironment::default() };
        match self.kind {
            EngineKind::Docker => environment.docker_host = host,
            EngineKind::Podman => environment.container_host = host,
        }
        Arc::new(DockerBackend::open(self.kind, state_dir, environment, settings))
    }

    /// The engine, asked directly.
    pub(crate) fn engine(&self) -> Docker {
        Docker::connect_with_unix(&self.socket, 60, bollard::API_DEFAULT_VERSION).expect("an engine")
    }

    /// Whether there is a container for box `id`.
    pub(crate) async fn has_container(&self, id: &str) -> bool {
        match self.engine().inspect_container(&format!("agentkernel-{id}"), None).await {
            Ok(_) => true,
            Err(bollard::errors::Error::DockerResponseServerError { message, .. })
                if message.to_lowercase().contains("no such container") =>
            {
                false
            }
            // Podman's words for states are not all Docker's.
            Err(bollard::errors::Error::JsonDataError { .. }) => true,
            Err(error) => panic!("{error}"),
        }
    }
}

/// One image of the bed, in `backend`.
pub(crate) async fn image(backend: &dyn Backend, name: &str) -> (ImageRef, ReadyImage) {
    let image: ImageRef = format!("agentkernel-test/{name}:1").parse().expect("an image");
    let found = backend.images().expect("images").find(&image).await.expect("an answer");
    (image, found.expect("an image of the bed"))
}

/// The plainest box of the bed's Debian.
pub(crate) async fn spec(backend: &dyn Backend) -> SandboxSpec {
    let (image, ready) = image(backend, "debian").await;
    SandboxSpec { image, image_id: Some(ready.id), ..agentkernel_testkit::plain_spec(backend.name()) }
}

/// What a shell script in a box says, both streams, and how it ends.
pub(crate) async fn shell(guest: &dyn agentkernel_backend::Guest, script: &str) -> (Outcome, String) {
    let request = ExecRequest {
        argv: ["sh", "-c", &format!("({script}) 2>&1")].map(ByteString::from).into(),
        env: vec![EnvVar { name: "PATH".into(), value: "/usr/local/bin:/usr/bin:/bin".into() }],
        workdir: BoxPath::new("/").expect("a path"),
        user: None,
        stdin: false,
        tty: None,
        timeout: None,
        detached_log_limit: None,
    };
    let mut execution = guest.exec(&request).await.expect("started");
    let mut text = String::new();
    execution.stdout.read_to_string(&mut text).await.expect("output");
    (execution.control.wait().await.expect("an end"), text)
}

/// One engine for the suite; the image is Debian's.
pub(crate) async fn subject(kind: EngineKind, variable: &str) -> Result<Subject, Skipped> {
    let bed = Bed::find(kind, variable)?;
    let state = tempfile::Builder::new().prefix("agentkernel-state-").tempdir().expect("a state folder");
    let (again, left, again_bed) = (state.path().to_owned(), state.path().to_owned(), bed.clone());
    let backend = bed.open(state.path());
    // What the engine can do is known once it was asked.
    if let Probe::NotReady { why, fix } = backend.probe().await {
        return Err(Skipped(format!("{} is not ready: {why}; {fix}", kind.name())));
    }
    Ok(Subject {
        backend,
        again: Box::new(move || again_bed.open(&again)),
        image: "agentkernel-test/debian:1".parse().expect("an image"),
        cannot_express: &[],
        processor_time: None,
        leftovers: Box::new(move || {
            let _keep = &state;
            leftovers(kind, &left)
        }),
    })
}

/// Folders and leases of the state: a lease is there for as long as anything of its box.
fn leftovers(kind: EngineKind, state_dir: &Path) -> Vec<String> {
    let own = state_dir.join(kind.name());
    let folders = ["leases", "boxes"].into_iter().flat_map(|folder| {
        let found = std::fs::read_dir(own.join(folder)).into_iter().flatten().flatten();
        found.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
    });
    folders.collect()
}
