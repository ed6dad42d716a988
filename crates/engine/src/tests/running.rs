//! `run`.

use agentkernel_backend::BackendError;
use agentkernel_model::{Feature, Mib, Outcome, Phase};
use agentkernel_testkit::fake::{FakeBackend, Fault, Step};

use super::{Bench, drain, name, output, plan, sh, spec, var};
use crate::{EngineError, ErrorKind, ExecPlan, RunPlan};

#[tokio::test]
async fn a_command_runs_and_nothing_is_left() {
    let bench = Bench::new();
    let mut run = bench.engine.run(plan(sh("echo out; echo err >&2; exit 7"))).await.unwrap();
    assert_eq!(run.sandbox, None);
    let (out, err, outcome) = drain(&mut run.execution).await;
    assert_eq!((out.as_str(), err.as_str(), outcome), ("out\n", "err\n", Outcome::Exited(7)));
    run.finish().await.unwrap();
    bench.assert_nothing_left();
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_command_that_cant_start_leaves_nothing() {
    let bench = Bench::new();
    for (argv, code) in [(vec!["nope"], 127), (vec![""], 127), (vec![], 127), (vec!["/workspace"], 126)] {
        let error = bench.engine.run(plan(ExecPlan::new(argv.clone()))).await.err().unwrap();
        assert_eq!((error.exit_code(), error.kind()), (code, ErrorKind::CannotExec), "{argv:?}: {error}");
        bench.assert_nothing_left();
    }
    bench.fake.assert_clean();
}

#[tokio::test]
async fn what_no_process_can_be_given_is_refused_before_anything() {
    let bench = Bench::new();
    let mut bad = sh("true");
    bad.env = vec![var("A=B", "x")];
    let error = bench.engine.run(plan(bad)).await.err().unwrap();
    assert!(error.to_string().contains("'='") && error.kind() == ErrorKind::Invalid, "{error}");
    let error = bench.engine.run(plan(ExecPlan::new(["sh", "a\0b"]))).await.err().unwrap();
    assert!(error.to_string().contains("argument 1"), "{error}");
    let mut secret = sh("true");
    secret.env = vec![var("TOKEN", "hunter2\0")];
    let error = bench.engine.run(plan(secret)).await.err().unwrap().to_string();
    assert!(error.contains("TOKEN") && !error.contains("hunter2"), "{error}");
    assert!(bench.fake.calls().is_empty());
}

#[tokio::test]
async fn the_requests_environment_comes_over_the_sandboxs() {
    let bench = Bench::new();
    let mut command = sh("env");
    command.env = vec![var("HOME", "/elsewhere"), var("NEW", "first"), var("NEW", "last")];
    let mut run = bench.engine.run(plan(command)).await.unwrap();
    let (out, ..) = drain(&mut run.execution).await;
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["HOME=/elsewhere", "NEW=last", "PATH=/usr/bin:/bin"]);
    run.finish().await.unwrap();
}

#[tokio::test]
async fn what_cant_be_enforced_is_refused_before_anything() {
    let bench = Bench::with(FakeBackend::new().without(Feature::MemoryLimit, "no memory controller"));
    let mut limited = spec();
    limited.resources.memory = Some(Mib(64));
    for keep in [None, Some(name("kept"))] {
        let refused = RunPlan { spec: limited.clone(), keep, ..plan(sh("true")) };
        let error = bench.engine.run(refused).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("--allow-unlimited"), "{error}");
    }
    assert!(bench.fake.calls().is_empty());
    bench.assert_nothing_left();
    limited.allow_unlimited = true;
    let run = bench.engine.run(RunPlan { spec: limited, ..plan(sh("true")) }).await.unwrap();
    assert_eq!(run.isolation.not_enforced, ["a memory limit"]);
    run.finish().await.unwrap();
}

#[tokio::test]
async fn a_kept_sandbox_goes_on_running() {
    let bench = Bench::new();
    let kept = RunPlan { keep: Some(name("kept")), ..plan(sh("echo hello > /workspace/file")) };
    let mut run = bench.engine.run(kept).await.unwrap();
    assert_eq!(drain(&mut run.execution).await.2, Outcome::Exited(0));
    run.finish().await.unwrap();
    assert_eq!(bench.engine.info(&name("kept")).await.unwrap().phase, Phase::Running);
    assert_eq!(output(&bench.another(), "kept", "cat /workspace/file").await, "hello\n");
    bench.engine.remove(&name("kept"), true).await.unwrap();
    bench.assert_nothing_left();
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_named_run_is_seen_while_it_lives_and_removed_at_its_end() {
    let bench = Bench::new();
    let named = RunPlan { name: Some(name("seen")), ..plan(sh("cat")) };
    let mut command = named.command.clone();
    command.stdin = true;
    let mut run = bench.engine.run(RunPlan { command, ..named }).await.unwrap();
    let other = bench.another();
    assert_eq!(other.info(&name("seen")).await.unwrap().phase, Phase::Running);
    assert_eq!(output(&other, "seen", "echo hi").await, "hi\n");
    assert!(other.recover().await.unwrap().removed.is_empty(), "its owner lives");
    drop(run.execution.stdin.take());
    assert_eq!(drain(&mut run.execution).await.2, Outcome::Exited(0));
    run.finish().await.unwrap();
    bench.assert_nothing_left();
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_named_run_whose_owner_is_gone_is_recovered() {
    let bench = Bench::new();
    let run = bench.engine.run(RunPlan { name: Some(name("seen")), ..plan(sh("sleep 60")) }).await.unwrap();
    drop(run);
    let recovered = bench.another().recover().await.unwrap();
    assert_eq!(recovered.removed, [name("seen")]);
    bench.assert_nothing_left();
}

#[tokio::test]
async fn a_named_run_may_be_removed_by_another_while_it_runs() {
    let bench = Bench::new();
    let mut run =
        bench.engine.run(RunPlan { name: Some(name("seen")), ..plan(sh("sleep 60")) }).await.unwrap();
    bench.another().remove(&name("seen"), true).await.unwrap();
    assert_eq!(drain(&mut run.execution).await.2, Outcome::BoxEnded);
    // The name is free for another, which the first run's end must not touch.
    bench.engine.create(&name("seen"), spec(), &[]).await.unwrap();
    run.finish().await.unwrap();
    assert_eq!(bench.names(), ["seen"]);
}

#[tokio::test]
async fn a_named_sandbox_knows_its_name() {
    let bench = Bench::new();
    let mut planned = spec();
    planned.env.push(var("AGENTKERNEL_SANDBOX", "run"));
    let script = "echo $AGENTKERNEL_SANDBOX; cat /proc/sys/kernel/hostname";
    for (keep, answer) in [(None, "run\nagentkernel\n"), (Some(name("kept")), "kept\nkept\n")] {
        let mut run =
            bench.engine.run(RunPlan { spec: planned.clone(), keep, ..plan(sh(script)) }).await.unwrap();
        assert_eq!(drain(&mut run.execution).await.0, answer);
        run.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_an_error() {
    let bench = Bench::new();
    bench.engine.create(&name("taken"), spec(), &[]).await.unwrap();
    let error =
        bench.engine.run(RunPlan { keep: Some(name("taken")), ..plan(sh("true")) }).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(bench.engine.info(&name("taken")).await.unwrap().phase, Phase::Stopped, "it is as it was");
}

#[tokio::test]
async fn a_failure_at_any_step_of_a_one_shot_run_leaves_nothing() {
    for step in [Step::Launch, Step::Exec] {
        for fault in [Fault::Before, Fault::After] {
            let bench = Bench::new();
            bench.fake.inject(step, fault);
            let error = bench.engine.run(plan(sh("true"))).await.err().unwrap();
            assert!(matches!(error, EngineError::Backend(BackendError::Runtime { .. })), "{error}");
            bench.another().recover().await.unwrap();
            bench.assert_nothing_left();
            bench.fake.assert_clean();
        }
    }
}

#[tokio::test]
async fn a_failure_at_any_step_of_a_named_run_leaves_nothing() {
    for step in [Step::Create, Step::Running, Step::Start, Step::Connect, Step::Exec] {
        for fault in [Fault::Before, Fault::After] {
            for keep in [true, false] {
                let bench = Bench::new();
                bench.fake.inject(step, fault);
                let sandbox = Some(name("a"));
                let (keep, named) = if keep { (sandbox, None) } else { (None, sandbox) };
                let result = bench.engine.run(RunPlan { keep, name: named, ..plan(sh("true")) }).await;
                assert!(result.is_err(), "{step:?} {fault:?}");
                bench.assert_nothing_left();
                bench.fake.assert_clean();
            }
        }
    }
}
