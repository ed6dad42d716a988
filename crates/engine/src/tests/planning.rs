//! From settings to a specification.

use std::path::Path;

use agentkernel_backend::Lifetime;
use agentkernel_config::{Environment, Overrides, Settings, load};
use agentkernel_model::{Access, Feature, Mount, Profile};
use agentkernel_testkit::fake::FakeBackend;

use super::{engine, var};
use crate::{EngineError, PlanError, PlanRequest, PlannedSandbox, RunCommand};

/// Somebody who stands in a project.
pub(super) struct Caller {
    pub(super) dir: tempfile::TempDir,
    pub(super) environment: Environment,
}

impl Caller {
    /// Home with a project in it and the state below the home, as an ordinary user has it.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap().join("home");
        std::fs::create_dir_all(home.join("project")).unwrap();
        std::fs::create_dir_all(home.join(".local/share/agentkernel/empty")).unwrap();
        let environment = Environment {
            cwd: home.join("project"),
            home: Some(home.clone()),
            user: Some("ann".to_owned()),
            uid: 1000,
            vars: vec![("HOME".into(), home.into()), ("EDITOR".into(), "vi".into())],
            interactive_stdin: false,
            interactive_stdout: false,
            interactive_stderr: false,
        };
        Self { dir, environment }
    }

    fn home(&self) -> &Path {
        self.environment.home.as_deref().unwrap()
    }

    pub(super) fn settings(&self, profile: Profile) -> Settings {
        let overrides = Overrides { profile: Some(profile), ..Overrides::default() };
        let mut settings = load(&self.environment, None, overrides).unwrap();
        settings.state_dir = self.home().join(".local/share/agentkernel");
        settings
    }

    async fn plan(&self, settings: &Settings) -> Result<PlannedSandbox, EngineError> {
        self.plan_with(settings, &host_only(), None).await
    }

    /// The plan for `fake`, of a `run` where there is a command.
    pub(super) async fn plan_with(
        &self,
        settings: &Settings,
        fake: &FakeBackend,
        command: Option<RunCommand<'_>>,
    ) -> Result<PlannedSandbox, EngineError> {
        let request = PlanRequest {
            settings,
            environment: &self.environment,
            backend: fake,
            lifetime: if command.is_some() { Lifetime::Ephemeral } else { Lifetime::Persistent },
            command,
            progress: &(),
        };
        engine(&self.dir, fake).plan(&request).await
    }
}

fn host_only() -> FakeBackend {
    FakeBackend::new().without(Feature::OciImages, "images come later; use --image host")
}

fn mount(source: &Path, target: &str, access: Access) -> Mount {
    Mount { source: source.to_owned(), target: target.parse().unwrap(), access }
}

fn value(planned: &PlannedSandbox, name: &str) -> Option<String> {
    let found = planned.spec.env.iter().find(|variable| variable.name.as_bytes() == name.as_bytes());
    found.map(|variable| variable.value.to_lossy())
}

#[tokio::test]
async fn profiles_become_mounts_and_variables() {
    let caller = Caller::new();
    let home = caller.home();
    let permissive = caller.plan(&caller.settings(Profile::Permissive)).await.unwrap();
    assert_eq!(
        permissive.spec.mounts,
        [
            mount(&home.join("project"), "/workspace", Access::ReadWrite),
            mount(home, "/home/user", Access::ReadOnly),
            // Right behind what it covers: a mount in between could change where the path leads.
            mount(
                &home.join(".local/share/agentkernel/empty"),
                "/home/user/.local/share/agentkernel",
                Access::ReadOnly
            ),
        ]
    );
    assert_eq!(value(&permissive, "HOME").unwrap(), "/home/user");
    assert_eq!(value(&permissive, "EDITOR").unwrap(), "vi");
    for profile in [Profile::Moderate, Profile::Restrictive] {
        let planned = caller.plan(&caller.settings(profile)).await.unwrap();
        assert_eq!(planned.spec.mounts, []);
        assert_eq!(value(&planned, "HOME").unwrap(), "/root");
        assert_eq!(value(&planned, "EDITOR"), None);
        assert_eq!(value(&planned, "AGENTKERNEL_SANDBOX").unwrap(), "run");
        assert_eq!(value(&planned, "LANG").unwrap(), "C.UTF-8");
        assert_eq!(value(&planned, "PATH").unwrap(), super::super::plan::PATH);
        assert_eq!(planned.spec.resources, profile.resources());
        assert_eq!(planned.spec.workdir.as_path(), Path::new("/workspace"));
        assert_eq!(planned.spec.hostname, "agentkernel");
    }
}

#[tokio::test]
async fn what_the_user_names_wins() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Permissive);
    settings.name = Some("box".parse().unwrap());
    settings.env.push(var("PATH", "/mine"));
    let other = caller.dir.path().canonicalize().unwrap();
    std::fs::create_dir(other.join("other")).unwrap();
    settings.mounts = vec![mount(&other.join("other"), "/workspace", Access::ReadOnly)];
    let planned = caller.plan(&settings).await.unwrap();
    assert_eq!(value(&planned, "PATH").unwrap(), "/mine");
    assert_eq!(value(&planned, "AGENTKERNEL_SANDBOX").unwrap(), "box");
    assert_eq!(planned.spec.hostname, "box");
    let workspaces: Vec<_> = planned
        .spec
        .mounts
        .iter()
        .filter(|mount| mount.target.as_path() == Path::new("/workspace"))
        .collect();
    assert_eq!(workspaces, [&settings.mounts[0]]);
}

#[tokio::test]
async fn the_state_folder_is_never_shown() {
    let caller = Caller::new();
    let state = caller.home().join(".local/share/agentkernel");
    std::fs::create_dir(state.join("sandboxes")).unwrap();
    std::os::unix::fs::symlink(&state, caller.dir.path().join("alias")).unwrap();
    for (source, access) in [
        (caller.home().to_owned(), Access::ReadWrite),
        (Path::new("/").to_owned(), Access::ReadWrite),
        (state.clone(), Access::ReadOnly),
        (state.join("sandboxes"), Access::ReadOnly),
        (caller.dir.path().join("alias"), Access::ReadOnly),
    ] {
        let mut settings = caller.settings(Profile::Moderate);
        settings.mounts = vec![mount(&source, "/data", access)];
        let error = caller.plan(&settings).await.err().unwrap();
        assert!(matches!(error, EngineError::Plan(PlanError::StateExposed { .. })), "{source:?}: {error}");
        assert!(error.to_string().contains("--state-dir"), "{error}");
    }
    let mut settings = caller.settings(Profile::Moderate);
    settings.mounts = vec![mount(Path::new("/"), "/host", Access::ReadOnly)];
    let planned = caller.plan(&settings).await.unwrap();
    let hidden = Path::new("/host").join(state.strip_prefix("/").unwrap());
    assert_eq!(
        planned.spec.mounts[1],
        mount(&state.join("empty"), hidden.to_str().unwrap(), Access::ReadOnly)
    );
}

#[tokio::test]
async fn mounts_that_cant_be_are_errors() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    settings.mounts = vec![mount(Path::new("/nope"), "/data", Access::ReadOnly)];
    let error = caller.plan(&settings).await.err().unwrap();
    assert!(error.to_string().starts_with("/nope can't be shown in the sandbox"), "{error}");
    let project = caller.environment.cwd.clone();
    settings.mounts =
        vec![mount(&project, "/data", Access::ReadOnly), mount(&project, "/data", Access::ReadWrite)];
    let error = caller.plan(&settings).await.err().unwrap();
    assert!(error.to_string().contains("/data is given twice"), "{error}");
}
