//! create, start, stop, remove, list, info, exec.

use std::time::Duration;

use agentkernel_backend::Backend;
use agentkernel_model::{Outcome, Phase};
use agentkernel_testkit::fake::{Fault, Step};

use super::{Bench, drain, name, output, sh, spec, var};
use crate::{EngineError, ErrorKind};

const GRACE: Duration = Duration::from_secs(5);

async fn phase(bench: &Bench, sandbox: &str) -> Phase {
    bench.engine.info(&name(sandbox)).await.unwrap().phase
}

#[tokio::test]
async fn files_survive_a_stop_and_start() {
    let bench = Bench::new();
    let a = name("a");
    assert_eq!(bench.engine.create(&a, spec(), &[]).await.unwrap().phase, Phase::Stopped);
    let view = bench.engine.start(&a).await.unwrap();
    assert_eq!(view.phase, Phase::Running);
    assert!(view.isolation.is_some());
    output(&bench.engine, "a", "echo kept > /workspace/file").await;
    bench.engine.stop(&a, GRACE).await.unwrap();
    assert_eq!(phase(&bench, "a").await, Phase::Stopped);
    bench.another().start(&a).await.unwrap();
    assert_eq!(output(&bench.engine, "a", "cat /workspace/file").await, "kept\n");
    bench.engine.stop(&a, GRACE).await.unwrap();
    bench.engine.remove(&a, false).await.unwrap();
    bench.assert_nothing_left();
    bench.fake.assert_clean();
}

#[tokio::test]
async fn verbs_may_be_repeated() {
    let bench = Bench::new();
    let a = name("a");
    bench.engine.create(&a, spec(), &[]).await.unwrap();
    bench.engine.stop(&a, GRACE).await.unwrap();
    for _ in 0..2 {
        bench.engine.start(&a).await.unwrap();
    }
    for _ in 0..2 {
        bench.engine.stop(&a, GRACE).await.unwrap();
    }
    bench.engine.remove(&a, false).await.unwrap();
    assert_eq!(bench.engine.remove(&a, false).await.err().unwrap().kind(), ErrorKind::NotFound);
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_running_sandbox_is_removed_only_by_force_which_ends_its_commands() {
    let bench = Bench::new();
    let a = name("a");
    bench.engine.create(&a, spec(), &[]).await.unwrap();
    bench.engine.start(&a).await.unwrap();
    let mut execution = bench.engine.exec(&a, sh("sleep 60")).await.unwrap();
    let error = bench.another().remove(&a, false).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error.to_string().contains("agentkernel stop a") && error.to_string().contains("--force"),
        "{error}"
    );
    bench.another().remove(&a, true).await.unwrap();
    assert_eq!(drain(&mut execution).await.2, Outcome::BoxEnded);
    bench.assert_nothing_left();
}

#[tokio::test]
async fn using_what_doesnt_run_says_how_to_start_it() {
    let bench = Bench::new();
    let a = name("a");
    assert_eq!(bench.engine.exec(&a, sh("true")).await.err().unwrap().kind(), ErrorKind::NotFound);
    bench.engine.create(&a, spec(), &[]).await.unwrap();
    let error = bench.engine.exec(&a, sh("true")).await.err().unwrap();
    assert!(error.to_string().contains("is stopped; start it with `agentkernel start a`"), "{error}");
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_box_that_died_shows_as_stopped_and_can_be_started_or_removed() {
    let bench = Bench::new();
    for last in ["start", "remove", "recover"] {
        let a = name("a");
        bench.engine.create(&a, spec(), &[]).await.unwrap();
        bench.engine.start(&a).await.unwrap();
        let record = bench.engine.box_record(&bench.engine.store().read(&a).unwrap());
        bench.fake.stop(&record, Duration::ZERO).await.unwrap();
        assert_eq!(bench.engine.store().read(&a).unwrap().phase, Phase::Running, "nobody wrote it down");
        assert_eq!(phase(&bench, "a").await, Phase::Stopped);
        assert_eq!(bench.engine.list().await.unwrap()[0].phase, Phase::Stopped);
        let error = bench.engine.exec(&a, sh("true")).await.err().unwrap();
        assert!(matches!(error, EngineError::NotRunning { phase: Phase::Stopped, .. }), "{error}");
        match last {
            "start" => {
                bench.engine.start(&a).await.unwrap();
                assert_eq!(output(&bench.engine, "a", "echo again").await, "again\n");
            }
            "recover" => assert_eq!(bench.engine.recover().await.unwrap().stopped, [name("a")]),
            _ => {}
        }
        bench.engine.remove(&a, last == "start").await.unwrap();
        bench.assert_nothing_left();
    }
}

#[tokio::test]
async fn of_creates_at_once_one_wins() {
    let bench = Bench::new();
    let engines = [bench.another(), bench.another(), bench.another()];
    let mut set = tokio::task::JoinSet::new();
    for engine in engines {
        set.spawn(async move { engine.create(&name("a"), spec(), &[]).await });
    }
    let mut won = 0;
    while let Some(result) = set.join_next().await {
        match result.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(bench.fake.objects().len(), 1);
    bench.fake.assert_clean();
}

#[tokio::test]
async fn starts_and_stops_at_once_take_turns() {
    let bench = Bench::new();
    bench.engine.create(&name("a"), spec(), &[]).await.unwrap();
    let mut set = tokio::task::JoinSet::new();
    for n in 0..6 {
        let engine = bench.another();
        set.spawn(async move {
            match n % 2 {
                0 => engine.start(&name("a")).await.map(drop),
                _ => engine.stop(&name("a"), Duration::ZERO).await,
            }
        });
    }
    while let Some(result) = set.join_next().await {
        result.unwrap().unwrap();
    }
    let recorded = bench.engine.store().read(&name("a")).unwrap().phase;
    assert_eq!(recorded, phase(&bench, "a").await, "the record says what the machine says");
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_failed_create_leaves_nothing() {
    for fault in [Fault::Before, Fault::After] {
        let bench = Bench::new();
        bench.fake.inject(Step::Create, fault);
        assert!(bench.engine.create(&name("a"), spec(), &[]).await.is_err());
        bench.assert_nothing_left();
        bench.engine.create(&name("a"), spec(), &[]).await.unwrap();
        bench.fake.assert_clean();
    }
}

#[tokio::test]
async fn a_create_that_cant_be_undone_is_left_to_recovery() {
    let bench = Bench::new();
    bench.fake.inject(Step::Create, Fault::After);
    bench.fake.inject(Step::Remove, Fault::Before);
    assert!(bench.engine.create(&name("a"), spec(), &[]).await.is_err());
    assert_eq!(bench.names(), ["a"], "what exists is recorded");
    assert_eq!(bench.another().recover().await.unwrap().removed, [name("a")]);
    bench.assert_nothing_left();
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_failed_start_is_taken_back_and_can_be_repeated() {
    for fault in [Fault::Before, Fault::After] {
        let bench = Bench::new();
        bench.engine.create(&name("a"), spec(), &[]).await.unwrap();
        bench.fake.inject(Step::Start, fault);
        assert!(bench.engine.start(&name("a")).await.is_err());
        assert_eq!(bench.engine.store().read(&name("a")).unwrap().phase, Phase::Stopped);
        assert_eq!(phase(&bench, "a").await, Phase::Stopped, "{fault:?}");
        bench.engine.start(&name("a")).await.unwrap();
        bench.fake.assert_clean();
    }
}

#[tokio::test]
async fn a_start_that_cant_be_taken_back_is_left_to_recovery_or_the_next_start() {
    for next in ["start", "stop", "recover", "remove"] {
        let bench = Bench::new();
        let a = name("a");
        bench.engine.create(&a, spec(), &[]).await.unwrap();
        bench.fake.inject(Step::Start, Fault::After);
        bench.fake.inject(Step::Stop, Fault::Before);
        assert!(bench.engine.start(&a).await.is_err());
        assert_eq!(bench.engine.store().read(&a).unwrap().phase, Phase::Stopping);
        let other = bench.another();
        match next {
            "stop" => other.stop(&a, GRACE).await.unwrap(),
            "recover" => assert_eq!(other.recover().await.unwrap().stopped, [name("a")]),
            "remove" => other.remove(&a, true).await.unwrap(),
            _ => {
                let error = other.start(&a).await.err().unwrap();
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                other.recover().await.unwrap();
                other.start(&a).await.unwrap();
                assert_eq!(phase(&bench, "a").await, Phase::Running);
            }
        }
        bench.fake.assert_clean();
    }
}

#[tokio::test]
async fn failed_stops_and_removes_can_be_repeated() {
    for fault in [Fault::Before, Fault::After] {
        let bench = Bench::new();
        let a = name("a");
        bench.engine.create(&a, spec(), &[]).await.unwrap();
        bench.engine.start(&a).await.unwrap();
        bench.fake.inject(Step::Stop, fault);
        assert!(bench.engine.stop(&a, GRACE).await.is_err());
        bench.engine.stop(&a, GRACE).await.unwrap();
        assert_eq!(phase(&bench, "a").await, Phase::Stopped);
        bench.fake.inject(Step::Remove, fault);
        assert!(bench.engine.remove(&a, false).await.is_err());
        assert_eq!(bench.engine.store().read(&a).unwrap().phase, Phase::Removing);
        bench.engine.remove(&a, false).await.unwrap();
        bench.assert_nothing_left();
        bench.fake.assert_clean();
    }
}

#[tokio::test]
async fn a_machine_that_doesnt_answer_is_told_and_not_guessed() {
    let bench = Bench::new();
    bench.engine.create(&name("a"), spec(), &[]).await.unwrap();
    bench.engine.start(&name("a")).await.unwrap();
    bench.fake.fail_at(Step::Running);
    let view = bench.engine.info(&name("a")).await.unwrap();
    assert_eq!(view.phase, Phase::Running, "as recorded");
    assert!(view.problem.is_some());
}

#[tokio::test]
async fn views_dont_show_secrets() {
    let bench = Bench::new();
    let mut secret = spec();
    secret.env.push(var("TOKEN", "hunter2"));
    bench.engine.create(&name("a"), secret, &[]).await.unwrap();
    let view = bench.engine.info(&name("a")).await.unwrap();
    let shown = serde_json::to_string(&view).unwrap();
    assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    assert!(!format!("{view:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_damaged_record_doesnt_hide_the_others() {
    let bench = Bench::new();
    bench.engine.create(&name("a"), spec(), &[]).await.unwrap();
    bench.engine.create(&name("b"), spec(), &[]).await.unwrap();
    std::fs::write(bench.engine.store().state_dir().join("sandboxes/a/record.json"), "{").unwrap();
    let names: Vec<_> = bench.engine.list().await.unwrap().into_iter().map(|view| view.name).collect();
    assert_eq!(names, [name("b")]);
    assert_eq!(bench.engine.unreadable().unwrap()[0].0, name("a"));
    let recovered = bench.engine.recover().await.unwrap();
    assert!(recovered.notes[0].contains("sandboxes/a/record.json is damaged"), "{recovered:?}");
}

#[test]
fn a_users_home_is_not_roots() {
    let mut command = sh("echo $HOME");
    command.user = Some("1000:1000".parse().unwrap());
    let request = command.request(&spec()).unwrap();
    assert!(request.env.contains(&var("HOME", "/tmp")));
    command.env.push(var("HOME", "/mine"));
    assert!(command.request(&spec()).unwrap().env.contains(&var("HOME", "/mine")));
}
