//! Recovery from each phase, and what it must leave alone.

use agentkernel_model::Phase;
use agentkernel_testkit::fake::Step;

use super::{Bench, name, output, plan, sh, spec};

/// A sandbox whose record says `phase` and whose process is gone.
async fn left_in(bench: &Bench, sandbox: &str, phase: Phase, running: bool) {
    let sandbox = name(sandbox);
    bench.engine.create(&sandbox, spec(), &[]).await.unwrap();
    if running {
        bench.engine.start(&sandbox).await.unwrap();
    }
    bench.engine.store().lock(&sandbox).unwrap().update(|record| record.phase = phase).unwrap();
}

#[tokio::test]
async fn nothing_to_do_is_nothing_done() {
    let bench = Bench::new();
    left_in(&bench, "stopped", Phase::Stopped, false).await;
    left_in(&bench, "running", Phase::Running, true).await;
    let recovered = bench.another().recover().await.unwrap();
    assert_eq!(recovered, crate::Recovered::default());
    assert_eq!(output(&bench.engine, "running", "echo alive").await, "alive\n");
    bench.fake.assert_clean();
}

#[tokio::test]
async fn each_phase_has_its_remedy() {
    for running in [false, true] {
        for (phase, remains) in [
            (Phase::Creating, false),
            (Phase::Removing, false),
            (Phase::Starting, true),
            (Phase::Stopping, true),
        ] {
            let bench = Bench::new();
            left_in(&bench, "a", phase, running).await;
            let recovered = bench.another().recover().await.unwrap();
            assert!(recovered.notes.is_empty(), "{recovered:?}");
            if remains {
                assert_eq!(recovered.stopped, [name("a")], "{phase}");
                assert_eq!(bench.engine.info(&name("a")).await.unwrap().phase, Phase::Stopped);
                bench.engine.start(&name("a")).await.unwrap();
            } else {
                assert_eq!(recovered.removed, [name("a")], "{phase}");
                bench.assert_nothing_left();
            }
            assert_eq!(
                bench.another().recover().await.unwrap(),
                crate::Recovered::default(),
                "once is enough"
            );
            bench.fake.assert_clean();
        }
    }
}

#[tokio::test]
async fn a_locked_record_is_never_touched() {
    for phase in [Phase::Creating, Phase::Starting, Phase::Stopping, Phase::Removing] {
        let bench = Bench::new();
        left_in(&bench, "a", phase, true).await;
        let held = bench.engine.store().lock(&name("a")).unwrap();
        assert_eq!(bench.another().recover().await.unwrap(), crate::Recovered::default());
        assert_eq!(held.record().phase, phase);
        assert_eq!(bench.fake.objects().len(), 1);
    }
}

#[tokio::test]
async fn one_that_fails_doesnt_stop_the_others() {
    let bench = Bench::new();
    left_in(&bench, "a", Phase::Removing, true).await;
    left_in(&bench, "b", Phase::Removing, true).await;
    bench.fake.fail_at(Step::Remove);
    let recovered = bench.another().recover().await.unwrap();
    assert_eq!(recovered.removed, [name("b")]);
    assert_eq!(recovered.notes.len(), 1);
    assert!(recovered.notes[0].contains("\"a\""), "{recovered:?}");
    assert_eq!(bench.another().recover().await.unwrap().removed, [name("a")], "the next command tries again");
    bench.assert_nothing_left();
}

#[tokio::test]
async fn boxes_of_killed_runs_are_reclaimed() {
    let bench = Bench::new();
    let run = bench.engine.run(plan(sh("sleep 60"))).await.unwrap();
    bench.fake.kill_process();
    std::mem::forget(run);
    let recovered = bench.another().recover().await.unwrap();
    assert_eq!(recovered.objects.len(), 1, "{recovered:?}");
    bench.assert_nothing_left();
}

#[tokio::test]
async fn a_failing_reclaim_is_a_note() {
    let bench = Bench::new();
    bench.fake.fail_at(Step::Reclaim);
    let recovered = bench.engine.recover().await.unwrap();
    assert!(recovered.notes[0].starts_with("backend fake: "), "{recovered:?}");
}

#[tokio::test]
async fn half_made_folders_go() {
    let bench = Bench::new();
    let sandboxes = bench.engine.store().state_dir().join("sandboxes");
    std::fs::create_dir_all(sandboxes.join(".new-x/backend")).unwrap();
    std::fs::create_dir_all(sandboxes.join("half")).unwrap();
    let recovered = bench.engine.recover().await.unwrap();
    assert_eq!(recovered.objects.len(), 2, "{recovered:?}");
    bench.assert_nothing_left();
}
