//! Images: which one is chosen, what it decides, and that boxes are made from nothing else.

use agentkernel_backend::Images;
use agentkernel_config::Settings;
use agentkernel_model::{ByteString, EnvVar, Feature, ImageConfig, ImageRef, Outcome, Profile, PullPolicy};
use agentkernel_testkit::fake::FakeBackend;

use super::building::building;
use super::planning::Caller;
use super::{Bench, drain, name, output, plan, sh, spec, var};
use crate::{EngineError, ErrorKind, ExecPlan, PlanError, PlannedSandbox, RunCommand, RunPlan};

pub(super) fn words(text: &str) -> Vec<ByteString> {
    text.split_whitespace().map(ByteString::from).collect()
}

pub(super) fn config(entrypoint: &str, command: &str) -> ImageConfig {
    ImageConfig { entrypoint: words(entrypoint), command: words(command), ..ImageConfig::default() }
}

/// One that shows the host's system and runs images too, as native does.
fn both() -> FakeBackend {
    FakeBackend::new().with_registry_image("python:3.12-alpine", config("", "python3"))
}

pub(super) fn containers() -> FakeBackend {
    both()
        .with_registry_image("alpine:3.20", config("", "/bin/sh"))
        .without(Feature::HostImage, "it runs containers")
}

async fn planned(caller: &Caller, settings: &Settings, fake: &FakeBackend, command: &str) -> PlannedSandbox {
    tried(caller, settings, fake, command).await.unwrap()
}

async fn tried(
    caller: &Caller,
    settings: &Settings,
    fake: &FakeBackend,
    command: &str,
) -> Result<PlannedSandbox, EngineError> {
    let words = words(command);
    caller.plan_with(settings, fake, Some(RunCommand { entrypoint: None, words: &words })).await
}

fn value(env: &[EnvVar], name: &str) -> Option<String> {
    let found = env.iter().find(|variable| variable.name.as_bytes() == name.as_bytes());
    found.map(|variable| variable.value.to_lossy())
}

#[tokio::test]
async fn what_is_named_wins_over_everything() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    settings.runtime = Some(agentkernel_config::Runtime::Python);
    let fake = both().with_image("busybox:1", config("", "sh"));
    let by_runtime = planned(&caller, &settings, &fake, "sh").await;
    assert_eq!(by_runtime.spec.image.as_str(), "python:3.12-alpine");
    assert_eq!(fake.fetched(), ["python:3.12-alpine"]);
    settings.image = Some("busybox:1".parse().unwrap());
    let by_name = planned(&caller, &settings, &fake, "python3").await;
    assert_eq!((by_name.image.name.as_str(), by_name.image.because.as_str()), ("busybox:1", "as named"));
    assert_eq!(by_name.spec.image_id, by_name.image.id);
    settings.image = Some(ImageRef::host());
    let host = planned(&caller, &settings, &fake, "python3").await;
    assert_eq!((host.spec.image.as_str(), host.spec.image_id), ("host", None));
    assert_eq!(fake.fetched().len(), 1, "only the first was not here");
}

#[tokio::test]
async fn containers_get_the_image_of_the_command_or_the_project() {
    let caller = Caller::new();
    let settings = caller.settings(Profile::Moderate);
    let fake = containers();
    let python = planned(&caller, &settings, &fake, "python3 app.py").await;
    assert_eq!(python.image.to_string().split(' ').nth(1), Some("python:3.12-alpine"));
    assert!(python.image.because.contains("command python3"), "{}", python.image);
    assert_eq!(planned(&caller, &settings, &fake, "ls").await.image.name, "alpine:3.20");
    std::fs::write(caller.environment.cwd.join("app.py"), "").unwrap();
    std::fs::write(caller.environment.cwd.join("requirements.txt"), "").unwrap();
    assert_eq!(planned(&caller, &settings, &fake, "ls").await.image.name, "python:3.12-alpine");
}

#[tokio::test]
async fn the_host_runs_what_it_has_and_the_network_is_the_last_resort() {
    let caller = Caller::new();
    let settings = caller.settings(Profile::Moderate);
    let image =
        async |fake: &FakeBackend, command: &str| planned(&caller, &settings, fake, command).await.image.name;
    // Nothing here: the host where it has the program, or where nobody knows better.
    let fake = both();
    for command in ["sh", "/bin/sh", "./build.sh", "no-such-program-anywhere", "/no/such/program"] {
        assert_eq!(image(&fake, command).await, "host", "{command}");
    }
    assert!(fake.fetched().is_empty());
    // A project's files decide only about a program that the host doesn't have.
    std::fs::write(caller.environment.cwd.join("requirements.txt"), "").unwrap();
    assert_eq!(image(&fake, "sh").await, "host");
    assert_eq!(image(&fake, "./build.sh").await, "host");
    assert!(fake.fetched().is_empty());
    assert_eq!(image(&fake, "no-such-program-anywhere").await, "python:3.12-alpine");
    assert_eq!(fake.fetched(), ["python:3.12-alpine"]);
    // Here already: it is used without being fetched again.
    for command in ["python3", "pip", "./build.sh"] {
        assert_eq!(image(&fake, command).await, "python:3.12-alpine", "{command}");
    }
    assert_eq!(image(&fake, "sh").await, "host", "sh is of no language that is here");
    assert_eq!(fake.fetched().len(), 1);
    // Without a command the project decides, where that costs nothing.
    assert_eq!(caller.plan_with(&settings, &fake, None).await.unwrap().image.name, "python:3.12-alpine");
    assert_eq!(caller.plan_with(&settings, &both(), None).await.unwrap().image.name, "host");
}

#[tokio::test]
async fn a_backend_without_images_runs_the_hosts_system_or_refuses_by_name() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    let fake = FakeBackend::new().without(Feature::OciImages, "no overlay file system");
    let host = planned(&caller, &settings, &fake, "python3").await;
    assert!(host.image.because.contains("backend fake"), "{}", host.image);
    settings.image = Some("busybox".parse().unwrap());
    let error = tried(&caller, &settings, &fake, "sh").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("no overlay file system"), "{error}");
}

#[tokio::test]
async fn nothing_is_fetched_for_what_cant_be_made() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    settings.image = Some("python:3.12-alpine".parse().unwrap());
    let fake = both().without(Feature::MemoryLimit, "no memory controller");
    let error = tried(&caller, &settings, &fake, "sh").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    settings.resources = agentkernel_model::Resources::default();
    settings.mounts = vec!["/nope:/data".parse().unwrap()];
    assert!(tried(&caller, &settings, &fake, "sh").await.is_err());
    assert!(fake.fetched().is_empty());
}

#[tokio::test]
async fn a_preview_says_what_would_be_and_fetches_nothing() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    settings.image = Some("python:3.12-alpine".parse().unwrap());
    let fake = both();
    let request = |settings| crate::PlanRequest {
        settings,
        environment: &caller.environment,
        backend: &fake,
        lifetime: agentkernel_backend::Lifetime::Ephemeral,
        command: Some(RunCommand::default()),
        progress: &(),
    };
    let shown = crate::preview_sandbox(&request(&settings)).await.unwrap();
    assert_eq!((shown.spec.image.as_str(), shown.spec.image_id), ("python:3.12-alpine", None));
    let building = building(&caller);
    let shown = crate::preview_sandbox(&request(&building)).await.unwrap();
    assert!(shown.image.name.starts_with("agentkernel-project:"), "{}", shown.image);
    assert!(fake.fetched().is_empty() && fake.built().is_empty());
}

#[tokio::test]
async fn policies_decide_about_the_network() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    settings.image = Some("python:3.12-alpine".parse().unwrap());
    settings.outside.images.pull = PullPolicy::Never;
    let fake = both();
    let error = tried(&caller, &settings, &fake, "sh").await.unwrap_err();
    assert_eq!((error.kind(), fake.fetched().len()), (ErrorKind::NotFound, 0));
    settings.outside.images.pull = PullPolicy::Missing;
    for _ in 0..2 {
        planned(&caller, &settings, &fake, "sh").await;
        assert_eq!(fake.fetched().len(), 1, "the second touches no network");
    }
    settings.outside.images.pull = PullPolicy::Always;
    planned(&caller, &settings, &fake, "sh").await;
    assert_eq!(fake.fetched().len(), 2);
}

#[tokio::test]
async fn the_command_follows_docker_run() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    settings.image = Some("tool".parse().unwrap());
    let fake = both().with_image("tool", config("/init --", "serve")).with_image("plain", config("", ""));
    let empty: [ByteString; 0] = [];
    for (entrypoint, command, argv) in [
        (None, "", "/init -- serve"),
        (None, "sh -c x", "/init -- sh -c x"),
        (Some("other"), "", "other"),
        (Some("other"), "a b", "other a b"),
        (Some(""), "sh", "sh"),
    ] {
        let (entrypoint, command) = (entrypoint.map(words), words(command));
        let command = RunCommand { entrypoint: entrypoint.as_deref(), words: &command };
        let planned = caller.plan_with(&settings, &fake, Some(command)).await.unwrap();
        assert_eq!(planned.argv, words(argv));
    }
    for image in ["plain", "host"] {
        settings.image = Some(image.parse().unwrap());
        let command = RunCommand { entrypoint: None, words: &empty };
        let error = caller.plan_with(&settings, &fake, Some(command)).await.unwrap_err();
        assert!(matches!(error, EngineError::Plan(PlanError::NothingToRun { .. })), "{error}");
    }
    let odd: [ByteString; 2] = ["a b".into(), ByteString(b"$(id)\xff'\"".to_vec())];
    settings.image = Some("tool".parse().unwrap());
    let command = RunCommand { entrypoint: None, words: &odd };
    let planned = caller.plan_with(&settings, &fake, Some(command)).await.unwrap();
    assert_eq!(planned.argv[2..], odd, "no word is taken apart");
}

#[tokio::test]
async fn an_image_decides_where_the_user_is_silent() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    settings.image = Some("app".parse().unwrap());
    let of_image = ImageConfig {
        env: vec![var("PATH", "/app/bin"), var("MODE", "image"), var("KEPT", "yes")],
        workdir: Some("/app".parse().unwrap()),
        user: Some("app:web".parse().unwrap()),
        ..ImageConfig::default()
    };
    let fake = both().with_image("app", of_image);
    let silent = planned(&caller, &settings, &fake, "x").await.spec;
    assert_eq!(
        (silent.workdir.to_string(), silent.user.clone()),
        ("/app".to_owned(), "app:web".parse().ok())
    );
    let shown = |env: &[EnvVar]| {
        ["PATH", "MODE", "KEPT", "LANG", "HOME"]
            .map(|name| value(env, name).unwrap_or_else(|| "-".to_owned()))
    };
    assert_eq!(shown(&silent.env), ["/app/bin", "image", "yes", "C.UTF-8", "-"]);

    settings.env = vec![var("MODE", "user"), var("PATH", "/mine")];
    settings.user = Some("root".parse().unwrap());
    settings.grants.mount_cwd = Some(agentkernel_model::Access::ReadWrite);
    let spoken = planned(&caller, &settings, &fake, "x").await.spec;
    assert_eq!(shown(&spoken.env), ["/mine", "user", "yes", "C.UTF-8", "/root"]);
    assert_eq!(spoken.workdir.to_string(), "/workspace", "where the folder is shown");
    settings.workdir = Some("/there".parse().unwrap());
    assert_eq!(planned(&caller, &settings, &fake, "x").await.spec.workdir.to_string(), "/there");
    let silent_image = both().with_image("app", ImageConfig::default());
    settings = caller.settings(Profile::Moderate);
    settings.image = Some("app".parse().unwrap());
    assert_eq!(planned(&caller, &settings, &silent_image, "x").await.spec.workdir.to_string(), "/workspace");
}

#[tokio::test]
async fn other_users_get_the_home_that_the_image_gives_them() {
    let fake = FakeBackend::new().with_image("app", ImageConfig::default());
    let bench = Bench::with(fake);
    let ready = Images::prepare(&bench.fake, &"app".parse().unwrap(), PullPolicy::Never, &()).await.unwrap();
    let mut of_image = spec();
    (of_image.image, of_image.image_id) = ("app".parse().unwrap(), Some(ready.id));
    bench.engine.create(&name("a"), of_image, &[]).await.unwrap();
    bench.engine.start(&name("a")).await.unwrap();
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n";
    output(&bench.engine, "a", &format!("printf '{passwd}' > /etc/passwd")).await;
    let home = async |user: &str, said: Option<&str>| {
        let env = said.map(|home| var("HOME", home)).into_iter().collect();
        let asked = ExecPlan { user: user.parse().ok(), env, ..sh("echo $HOME") };
        let mut execution = bench.engine.exec(&name("a"), asked).await.unwrap();
        drain(&mut execution).await.0
    };
    for (user, said, expected) in [
        ("node", None, "/home/node\n"),
        ("1000:1000", None, "/home/node\n"),
        ("4242:4242", None, "/\n"),
        ("root", None, "/root\n"),
        ("node", Some("/mine"), "/mine\n"),
    ] {
        assert_eq!(home(user, said).await, expected, "{user}");
    }
}

#[tokio::test]
async fn boxes_are_made_from_the_prepared_content_and_from_nothing_else() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    settings.image = Some("python:3.12-alpine".parse().unwrap());
    let bench = Bench::with(both());
    let planned = planned(&caller, &settings, &bench.fake, "sh -c true").await;
    let asked = RunPlan { spec: planned.spec.clone(), ..plan(ExecPlan::new(planned.argv.clone())) };
    let mut run = bench.engine.run(asked).await.unwrap();
    assert_eq!(drain(&mut run.execution).await.2, Outcome::Exited(0));
    run.finish().await.unwrap();
    bench.engine.create(&name("a"), planned.spec.clone(), &[]).await.unwrap();
    bench.engine.start(&name("a")).await.unwrap();
    bench.fake.assert_clean();
    assert_eq!(
        bench.engine.images_in_use().unwrap().into_iter().collect::<Vec<_>>(),
        [planned.spec.image_id.clone().unwrap()]
    );
    let users = bench.engine.users_of_image(planned.spec.image_id.as_ref().unwrap()).unwrap();
    assert_eq!(users, [name("a")]);

    let unpinned = RunPlan {
        spec: agentkernel_model::SandboxSpec { image_id: None, ..planned.spec },
        ..plan(ExecPlan::new(planned.argv))
    };
    let run = bench.engine.run(unpinned).await.unwrap();
    assert!(!bench.fake.violations().is_empty(), "the fake sees that nobody prepared it");
    drop(run);
}

#[tokio::test]
async fn an_old_record_starts_offline_and_a_pruned_image_is_named() {
    let caller = Caller::new();
    let mut settings = caller.settings(Profile::Moderate);
    settings.image = Some("python:3.12-alpine".parse().unwrap());
    let bench = Bench::with(both());
    let planned = planned(&caller, &settings, &bench.fake, "sh").await;
    bench.engine.create(&name("a"), planned.spec, &[]).await.unwrap();
    let fetched = bench.fake.fetched().len();
    bench.another().start(&name("a")).await.unwrap();
    bench.another().stop(&name("a"), std::time::Duration::ZERO).await.unwrap();
    assert_eq!(bench.fake.fetched().len(), fetched, "a start touches no registry");
    bench.fake.remove_image("python:3.12-alpine");
    let error = bench.another().start(&name("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(
        text.contains("agentkernel image pull --backend fake python:3.12-alpine") && text.contains("\"a\""),
        "{text}"
    );
    bench.engine.remove(&name("a"), true).await.unwrap();
    assert!(bench.engine.images_in_use().unwrap().is_empty());
    bench.assert_nothing_left();
}

#[tokio::test]
async fn an_unreadable_record_keeps_images_from_being_pruned() {
    let bench = Bench::new();
    bench.engine.create(&name("a"), spec(), &[]).await.unwrap();
    let folder = bench.engine.store().state_dir().join("sandboxes/a");
    let record = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "json"))
        .unwrap();
    std::fs::write(record, "{").unwrap();
    let error = bench.engine.images_in_use().unwrap_err();
    assert!(error.to_string().contains("agentkernel remove --force a"), "{error}");
}
