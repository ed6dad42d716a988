//! Dockerfiles: built by the backend's own engine, or by another whose result is taken in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use agentkernel_backend::{Backend, BackendError, Images, OutputStream, ReadyImage, Registry};
use agentkernel_config::{BuildSettings, Settings};
use agentkernel_model::{ImageRef, Profile, PullEvent, PullPolicy, PullProgress};
use agentkernel_store::Store;
use agentkernel_testkit::fake::FakeBackend;
use async_trait::async_trait;
use tokio::io::AsyncReadExt;

use super::images::{config, containers, words};
use super::planning::Caller;
use crate::{Engine, EngineError, ErrorKind, ImageImporter, PlanError, PlannedSandbox, RunCommand};

/// A store that remembers what it was given.
#[derive(Default)]
struct Importer {
    taken: Mutex<Vec<String>>,
    fake: Option<FakeBackend>,
}

#[async_trait]
impl ImageImporter for Importer {
    async fn import(&self, mut archive: OutputStream, name: &ImageRef) -> Result<ReadyImage, BackendError> {
        let mut content = String::new();
        archive.read_to_string(&mut content).await.map_err(|error| BackendError::runtime("read", error))?;
        self.taken.lock().unwrap().push(format!("{name} {content}"));
        // As if our store had it now.
        let fake = self.fake.clone().unwrap().with_image(name.as_str(), config("", "built"));
        Images::prepare(&fake, name, PullPolicy::Never, &()).await
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl PullProgress for Lines {
    fn report(&self, event: PullEvent) {
        if let PullEvent::BuildOutput { line } = event {
            self.0.lock().unwrap().push(line);
        }
    }
}

pub(super) fn building(caller: &Caller) -> Settings {
    std::fs::write(caller.environment.cwd.join("Dockerfile"), "FROM scratch\n").unwrap();
    let mut settings = caller.settings(Profile::Moderate);
    settings.build = Some(BuildSettings {
        args: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
        ..BuildSettings::default()
    });
    settings
}

fn engine_of(caller: &Caller, backends: &[&FakeBackend]) -> Engine {
    let mut registry = Registry::new();
    backends.iter().for_each(|backend| registry.add(Arc::new((*backend).clone()), true));
    Engine::open(Store::open(&caller.dir.path().join("state")).unwrap(), registry)
}

async fn build(
    engine: &Engine,
    caller: &Caller,
    settings: &Settings,
    backend: &dyn Backend,
    progress: &dyn PullProgress,
) -> Result<PlannedSandbox, EngineError> {
    let request = crate::PlanRequest {
        settings,
        environment: &caller.environment,
        backend,
        lifetime: agentkernel_backend::Lifetime::Ephemeral,
        command: Some(RunCommand::default()),
        progress,
    };
    engine.plan(&request).await
}

#[tokio::test]
async fn a_backend_that_builds_runs_what_it_has_built() {
    let caller = Caller::new();
    let settings = building(&caller);
    let fake = containers().with_builder(config("", "serve"));
    let lines = Lines::default();
    let engine = engine_of(&caller, &[&fake]);
    let planned = build(&engine, &caller, &settings, &fake, &lines).await.unwrap();
    assert_eq!(planned.argv, words("serve"));
    let built = &fake.built()[0];
    assert_eq!((built.dockerfile.to_str(), &built.context), (Some("Dockerfile"), &caller.environment.cwd));
    assert_eq!(built.args, [("A".to_owned(), "1".to_owned())]);
    let (repository, tag) = built.tag.split_once(':').unwrap();
    assert_eq!((repository, tag.len()), ("agentkernel-project", 12));
    assert_eq!(planned.image.name, built.tag);
    assert!(planned.image.because.contains("Dockerfile by fake"), "{}", planned.image);
    assert_eq!(*lines.0.lock().unwrap(), ["STEP 1/1"]);
    // The same again has the same name, another Dockerfile another one.
    build(&engine, &caller, &settings, &fake, &()).await.unwrap();
    std::fs::write(caller.environment.cwd.join("Dockerfile"), "FROM other\n").unwrap();
    build(&engine, &caller, &settings, &fake, &()).await.unwrap();
    let tags: Vec<String> = fake.built().into_iter().map(|built| built.tag).collect();
    assert!(tags[0] == tags[1] && tags[1] != tags[2], "{tags:?}");
}

#[tokio::test]
async fn a_backend_that_cant_build_gets_the_image_of_the_first_engine_that_is_ready() {
    let caller = Caller::new();
    let settings = building(&caller);
    let native = FakeBackend::new().named("native");
    let down =
        FakeBackend::new().named("docker").with_builder(config("", "")).not_ready("no socket", "start it");
    let up = FakeBackend::new().named("podman").with_builder(config("", "serve"));
    let importer = Arc::new(Importer { fake: Some(native.clone()), ..Importer::default() });
    let engine = engine_of(&caller, &[&down, &up, &native]).with_importer(importer.clone());
    let planned = build(&engine, &caller, &settings, &native, &()).await.unwrap();
    assert_eq!((planned.argv, down.built().len(), up.built().len()), (words("built"), 0, 1));
    assert!(planned.image.because.ends_with("by podman"), "{}", planned.image);
    let taken = importer.taken.lock().unwrap().clone();
    assert!(taken[0].starts_with(&format!("{} archive of sha256:", up.built()[0].tag)), "{taken:?}");
    // The box can be made: it starts from what was taken in.
    native.launch(&planned.spec).await.unwrap().destroy().await.unwrap();
    native.assert_clean();
}

#[tokio::test]
async fn without_an_engine_a_dockerfile_is_refused_with_every_reason() {
    let caller = Caller::new();
    let mut settings = building(&caller);
    let native = FakeBackend::new().named("native");
    let down = |name: &str| {
        FakeBackend::new()
            .named(name)
            .with_builder(config("", ""))
            .not_ready("no socket", &format!("start {name}"))
    };
    let engine = engine_of(&caller, &[&down("docker"), &down("podman"), &native]);
    let error = build(&engine, &caller, &settings, &native, &()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    for part in ["docker: no socket; start docker", "podman: no socket; start podman", "--image"] {
        assert!(text.contains(part), "{text}");
    }
    std::fs::remove_file(caller.environment.cwd.join("Dockerfile")).unwrap();
    let error = build(&engine, &caller, &settings, &native, &()).await.unwrap_err();
    assert!(matches!(error, EngineError::Plan(PlanError::NoDockerfile { .. })), "{error}");
    for name in ["Dockerfile.dev", "dockerfile"] {
        std::fs::write(caller.environment.cwd.join(name), "").unwrap();
        let error = build(&engine, &caller, &settings, &native, &()).await.unwrap_err();
        assert!(matches!(error, EngineError::NoBuilder { .. }), "{name} is found: {error}");
    }
    let outside = caller.dir.path().canonicalize().unwrap().join("elsewhere");
    std::fs::write(&outside, "").unwrap();
    settings.build = Some(BuildSettings {
        dockerfile: Some(outside),
        context: Some(caller.environment.cwd.clone()),
        ..BuildSettings::default()
    });
    let error = build(&engine, &caller, &settings, &native, &()).await.unwrap_err();
    assert!(matches!(error, EngineError::Plan(PlanError::DockerfileOutside { .. })), "{error}");
}
