//! Pause, resume, snapshots and forks over the strict fake.

use std::time::Duration;

use agentkernel_backend::{BackendError, Registry};
use agentkernel_model::{Feature, Mib, NetworkAccess, Phase, SandboxSpec, SnapshotName};
use agentkernel_store::{Store, StoreError};
use agentkernel_testkit::fake::{FakeBackend, Fault, Step};

use super::{Bench, name, output, sh, spec, var};
use crate::{Engine, EngineError, ErrorKind, MAX_FORKS, Recovered};

fn snapshot(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

/// A bench with a running sandbox `work`.
async fn bench() -> Bench {
    let bench = Bench::new();
    make(&bench, spec()).await;
    bench
}

async fn make(bench: &Bench, spec: SandboxSpec) {
    bench.engine.create(&name("work"), spec, &[]).await.unwrap();
    bench.engine.start(&name("work")).await.unwrap();
}

async fn phase(bench: &Bench, sandbox: &str) -> Phase {
    bench.engine.info(&name(sandbox)).await.unwrap().phase
}

fn id(bench: &Bench, sandbox: &str) -> String {
    bench.engine.store().read(&name(sandbox)).unwrap().id
}

/// What is in the folder of snapshots but locks.
fn kept(bench: &Bench) -> Vec<String> {
    let entries = std::fs::read_dir(bench.engine.store().state_dir().join("snapshots"));
    let names = entries.into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_paused_sandbox_stands_still_and_is_not_used() {
    let bench = bench().await;
    let (engine, work) = (&bench.engine, name("work"));
    for _ in 0..2 {
        assert_eq!(engine.pause(&work).await.unwrap().phase, Phase::Paused);
    }
    assert!(bench.fake.is_paused(&id(&bench, "work")));
    assert_eq!(phase(&bench, "work").await, Phase::Paused);
    for error in [
        engine.exec(&work, sh("true")).await.map(drop).unwrap_err(),
        engine.start(&work).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "sandbox \"work\": it is paused; resume it first");
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(bench.another().recover().await.unwrap(), Recovered::default(), "paused is no accident");
    for _ in 0..2 {
        assert_eq!(engine.resume(&work).await.unwrap().phase, Phase::Running);
    }
    assert_eq!(output(engine, "work", "echo on").await, "on\n");
    bench.fake.assert_clean();
}

#[tokio::test]
async fn what_is_stopped_is_neither_paused_nor_copied() {
    let bench = bench().await;
    let (engine, work) = (&bench.engine, name("work"));
    engine.stop(&work, Duration::ZERO).await.unwrap();
    for error in [
        engine.pause(&work).await.map(drop).unwrap_err(),
        engine.resume(&work).await.map(drop).unwrap_err(),
        engine.take_snapshot(&work, None).await.map(drop).unwrap_err(),
        engine.fork(&work, 1, None).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, EngineError::NotRunning { .. }), "{error}");
    }
    assert!(kept(&bench).is_empty());
    assert_eq!(bench.names(), ["work"]);
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_paused_sandbox_can_be_stopped_and_removed() {
    for grace in [Duration::ZERO, Duration::from_secs(5)] {
        let bench = bench().await;
        let (engine, work) = (&bench.engine, name("work"));
        let _sleep = engine.exec(&work, sh("sleep 1000")).await.unwrap();
        engine.pause(&work).await.unwrap();
        engine.stop(&work, grace).await.unwrap();
        assert_eq!(phase(&bench, "work").await, Phase::Stopped);
        engine.start(&work).await.unwrap();
        engine.pause(&work).await.unwrap();
        assert!(matches!(engine.remove(&work, false).await, Err(EngineError::StillRunning { .. })));
        engine.remove(&work, true).await.unwrap();
        bench.assert_nothing_left();
        bench.fake.assert_clean();
    }
}

#[tokio::test]
async fn one_that_stood_still_and_whose_box_died_is_stopped() {
    for recorded in [Phase::Paused, Phase::Pausing] {
        let bench = bench().await;
        bench.engine.pause(&name("work")).await.unwrap();
        // As if the machine had been started anew.
        let record = bench.engine.box_record(&bench.engine.store().read(&name("work")).unwrap());
        agentkernel_backend::Backend::stop(&bench.fake, &record, Duration::ZERO).await.unwrap();
        bench.engine.store().lock(&name("work")).unwrap().update(|record| record.phase = recorded).unwrap();
        if recorded == Phase::Paused {
            assert_eq!(phase(&bench, "work").await, Phase::Stopped);
            assert!(matches!(bench.engine.resume(&name("work")).await, Err(EngineError::NotRunning { .. })));
        }
        assert_eq!(bench.another().recover().await.unwrap().stopped, [name("work")]);
        bench.engine.start(&name("work")).await.unwrap();
        assert_eq!(phase(&bench, "work").await, Phase::Running);
        bench.fake.assert_clean();
    }
}

#[tokio::test]
async fn a_failed_pause_or_resume_leaves_what_was() {
    let bench = bench().await;
    let (engine, work) = (&bench.engine, name("work"));
    for fault in [Fault::Before, Fault::After] {
        bench.fake.inject(Step::Pause, fault);
        assert!(engine.pause(&work).await.is_err());
        assert_eq!(phase(&bench, "work").await, Phase::Running);
        assert_eq!(output(engine, "work", "echo on").await, "on\n");
    }
    engine.pause(&work).await.unwrap();
    bench.fake.fail_at(Step::Resume);
    assert!(engine.resume(&work).await.is_err());
    assert_eq!(phase(&bench, "work").await, Phase::Paused);
    engine.resume(&work).await.unwrap();
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_restored_sandbox_is_the_source_of_that_moment_under_its_own_name() {
    let bench = Bench::new();
    let mut wanted = spec();
    wanted.env.push(var("AGENTKERNEL_SANDBOX", "work"));
    make(&bench, SandboxSpec { hostname: "work".to_owned(), ..wanted }).await;
    let engine = &bench.engine;
    output(engine, "work", "echo then > /root/f").await;
    let taken = engine.take_snapshot(&name("work"), Some(&snapshot("before"))).await.unwrap();
    assert_eq!((taken.source.as_str(), taken.backend.as_str()), ("work", "fake"));
    assert!(taken.bytes >= 1 << 20, "{taken:?}");
    assert_eq!(engine.snapshots().unwrap(), std::slice::from_ref(&taken));
    assert_eq!(engine.snapshot(&snapshot("before")).unwrap(), taken);
    assert_eq!(phase(&bench, "work").await, Phase::Running);
    output(engine, "work", "echo now > /root/f").await;
    // It needs neither its source nor that it was there before.
    engine.remove(&name("work"), true).await.unwrap();
    let made = engine.restore_snapshot(&snapshot("before"), Some(&name("again"))).await.unwrap();
    assert_eq!((made.name.as_str(), made.phase, made.ephemeral), ("again", Phase::Running, false));
    assert!(made.isolation.is_some());
    assert_eq!(
        output(engine, "again", "cat /root/f /proc/sys/kernel/hostname; echo $AGENTKERNEL_SANDBOX").await,
        "then\nagain\nagain\n"
    );
    let same = engine.restore_snapshot(&snapshot("before"), None).await.unwrap();
    assert_eq!(same.name.as_str(), "before");
    let error = engine.restore_snapshot(&snapshot("before"), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    engine.remove_snapshot(&snapshot("before")).await.unwrap();
    assert!(kept(&bench).is_empty());
    assert_eq!(output(engine, "again", "cat /root/f").await, "then\n", "they outlive it");
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_paused_source_stays_paused() {
    let bench = bench().await;
    let engine = &bench.engine;
    engine.pause(&name("work")).await.unwrap();
    engine.take_snapshot(&name("work"), Some(&snapshot("s"))).await.unwrap();
    assert_eq!(phase(&bench, "work").await, Phase::Paused);
    bench.fake.fail_at(Step::Take);
    assert!(engine.take_snapshot(&name("work"), Some(&snapshot("t"))).await.is_err());
    assert_eq!(phase(&bench, "work").await, Phase::Paused);
    let copies = engine.fork(&name("work"), 1, None).await.unwrap();
    assert_eq!((copies[0].phase, phase(&bench, "work").await), (Phase::Running, Phase::Paused));
    bench.fake.assert_clean();
}

#[tokio::test]
async fn names_of_snapshots_are_taken_once() {
    let bench = bench().await;
    let (engine, work) = (&bench.engine, name("work"));
    let named = [None, None, Some(snapshot("work-2")), Some(snapshot("own"))];
    let mut taken = Vec::new();
    for wanted in &named {
        match engine.take_snapshot(&work, wanted.as_ref()).await {
            Ok(view) => taken.push(view.name.to_string()),
            Err(EngineError::Store(StoreError::SnapshotExists { name })) => taken.push(format!("no {name}")),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(taken, ["work-1", "work-2", "no work-2", "own"]);
    let other = bench.another();
    let wanted = snapshot("race");
    let (one, two) =
        tokio::join!(engine.take_snapshot(&work, Some(&wanted)), other.take_snapshot(&work, Some(&wanted)));
    let errors: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
    assert!(matches!(&errors[..], [EngineError::Store(StoreError::SnapshotExists { .. })]), "{errors:?}");
    for missing in [
        engine.snapshot(&snapshot("none")).map(drop),
        engine.remove_snapshot(&snapshot("none")).await,
        engine.restore_snapshot(&snapshot("none"), None).await.map(drop),
    ] {
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_failed_take_leaves_a_running_source_and_no_snapshot() {
    for fault in [Fault::Before, Fault::After] {
        let bench = bench().await;
        bench.fake.inject(Step::Take, fault);
        assert!(bench.engine.take_snapshot(&name("work"), Some(&snapshot("s"))).await.is_err());
        assert_eq!(phase(&bench, "work").await, Phase::Running);
        assert_eq!(output(&bench.engine, "work", "echo on").await, "on\n");
        assert!(kept(&bench).is_empty());
        bench.engine.take_snapshot(&name("work"), Some(&snapshot("s"))).await.unwrap();
        bench.fake.assert_clean();
    }
}

#[tokio::test]
async fn a_take_that_was_killed_leaves_nothing_and_the_source_goes_on() {
    let bench = bench().await;
    bench.fake.inject(Step::Take, Fault::Hang);
    {
        let wanted = snapshot("s");
        let work = name("work");
        let killed = bench.engine.take_snapshot(&work, Some(&wanted));
        assert!(tokio::time::timeout(Duration::from_millis(100), killed).await.is_err());
    }
    assert!(bench.fake.is_paused(&id(&bench, "work")));
    assert_eq!(phase(&bench, "work").await, Phase::Pausing);
    let recovered = bench.another().recover().await.unwrap();
    assert_eq!(recovered.resumed, [name("work")]);
    assert_eq!(recovered.objects, ["folder snapshots/s"]);
    assert_eq!(phase(&bench, "work").await, Phase::Running);
    assert!(!bench.fake.is_paused(&id(&bench, "work")));
    assert!(kept(&bench).is_empty());
    assert_eq!(bench.another().recover().await.unwrap(), Recovered::default(), "once is enough");
    bench.fake.assert_clean();
}

#[tokio::test]
async fn who_comes_during_a_take_waits_and_who_comes_after_a_kill_mends() {
    let bench = bench().await;
    let (engine, work) = (&bench.engine, name("work"));
    let record = engine.store().lock(&work).unwrap();
    let mut held = record;
    held.update(|record| record.phase = Phase::Pausing).unwrap();
    let waits = output(engine, "work", "echo on");
    tokio::pin!(waits);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waits).await.is_err(), "it stands still");
    held.update(|record| record.phase = Phase::Running).unwrap();
    drop(held);
    assert_eq!(waits.await, "on\n");
    // Nobody holds it now.
    for verb in ["exec", "pause", "resume", "take", "fork", "start", "stop"] {
        engine.store().lock(&work).unwrap().update(|record| record.phase = Phase::Pausing).unwrap();
        match verb {
            "exec" => drop(output(engine, "work", "echo on").await),
            "pause" => drop(engine.pause(&work).await.unwrap()),
            "resume" => drop(engine.resume(&work).await.unwrap()),
            "take" => drop(engine.take_snapshot(&work, None).await.unwrap()),
            "fork" => drop(engine.fork(&work, 1, None).await.unwrap()),
            "start" => drop(engine.start(&work).await.unwrap()),
            _ => engine.stop(&work, Duration::from_secs(1)).await.unwrap(),
        }
        let expected = match verb {
            "pause" => Phase::Paused,
            "stop" => Phase::Stopped,
            _ => Phase::Running,
        };
        assert_eq!(phase(&bench, "work").await, expected, "{verb}");
        if verb == "pause" {
            engine.resume(&work).await.unwrap();
        }
    }
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_restore_that_fails_or_is_killed_leaves_nothing() {
    let bench = bench().await;
    let engine = &bench.engine;
    engine.take_snapshot(&name("work"), Some(&snapshot("s"))).await.unwrap();
    for fault in [Fault::Before, Fault::After] {
        bench.fake.inject(Step::Restore, fault);
        assert!(engine.restore_snapshot(&snapshot("s"), Some(&name("copy"))).await.is_err());
        assert_eq!((bench.names(), bench.fake.objects().len()), (vec!["work".to_owned()], 1));
    }
    bench.fake.inject(Step::Restore, Fault::Hang);
    {
        let (wanted, copy) = (snapshot("s"), name("copy"));
        let killed = engine.restore_snapshot(&wanted, Some(&copy));
        assert!(tokio::time::timeout(Duration::from_millis(100), killed).await.is_err());
    }
    assert_eq!(bench.another().recover().await.unwrap().removed, [name("copy")]);
    assert_eq!((bench.names(), bench.fake.objects().len()), (vec!["work".to_owned()], 1));
    engine.restore_snapshot(&snapshot("s"), Some(&name("copy"))).await.unwrap();
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_fork_makes_all_children_with_free_names() {
    let bench = bench().await;
    let engine = &bench.engine;
    output(engine, "work", "echo kept > /root/f").await;
    engine.create(&name("work-2"), spec(), &[]).await.unwrap();
    let children = engine.fork(&name("work"), 10, None).await.unwrap();
    let names: Vec<&str> = children.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "work-1", "work-3", "work-4", "work-5", "work-6", "work-7", "work-8", "work-9", "work-10",
            "work-11"
        ]
    );
    for name in names {
        assert_eq!(output(engine, name, "cat /root/f; echo own > /root/f").await, "kept\n", "{name}");
    }
    assert_eq!(output(engine, "work", "cat /root/f").await, "kept\n");
    assert_eq!(engine.fork(&name("work"), 1, Some(&name("one"))).await.unwrap()[0].name.as_str(), "one");
    let two = engine.fork(&name("work"), 2, Some(&name("one"))).await.unwrap();
    assert_eq!([two[0].name.as_str(), two[1].name.as_str()], ["one-1", "one-2"]);
    let error = engine.fork(&name("work"), 1, Some(&name("one"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(kept(&bench).is_empty(), "what they came from is gone");
    for count in [0, MAX_FORKS + 1] {
        assert_eq!(engine.fork(&name("work"), count, None).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_fork_that_fails_leaves_none_of_its_children() {
    let bench = bench().await;
    let engine = &bench.engine;
    for (step, fault) in [
        (Step::Take, Fault::Before),
        (Step::Take, Fault::After),
        (Step::Restore, Fault::Before),
        (Step::Restore, Fault::After),
    ] {
        bench.fake.inject(step, fault);
        assert!(engine.fork(&name("work"), 12, None).await.is_err());
        assert_eq!((bench.names(), bench.fake.objects().len()), (vec!["work".to_owned()], 1), "{step:?}");
        assert_eq!(phase(&bench, "work").await, Phase::Running);
        assert!(kept(&bench).is_empty());
    }
    bench.fake.assert_clean();
}

#[tokio::test]
async fn a_fork_that_was_killed_leaves_nothing() {
    for step in [Step::Take, Step::Restore] {
        let bench = bench().await;
        bench.fake.inject(step, Fault::Hang);
        {
            let work = name("work");
            let killed = bench.engine.fork(&work, 3, None);
            assert!(tokio::time::timeout(Duration::from_millis(200), killed).await.is_err());
        }
        let recovered = bench.another().recover().await.unwrap();
        assert!(recovered.notes.is_empty(), "{recovered:?}");
        assert_eq!((bench.names(), bench.fake.objects().len()), (vec!["work".to_owned()], 1), "{step:?}");
        assert_eq!(phase(&bench, "work").await, Phase::Running);
        assert!(kept(&bench).is_empty());
        bench.fake.assert_clean();
    }
}

#[tokio::test]
async fn what_a_backend_lacks_is_refused_by_name_before_anything_is_changed() {
    let why = "native sandboxes can't be copied; use --backend firecracker";
    let bench = Bench::with(FakeBackend::new().without(Feature::Snapshots, why));
    make(&bench, spec()).await;
    let (engine, work) = (&bench.engine, name("work"));
    for error in [
        engine.pause(&work).await.map(drop).unwrap_err(),
        engine.resume(&work).await.map(drop).unwrap_err(),
        engine.take_snapshot(&work, None).await.map(drop).unwrap_err(),
        engine.fork(&work, 2, None).await.map(drop).unwrap_err(),
    ] {
        let EngineError::Backend(BackendError::Unsupported { what, fix, .. }) = &error else {
            panic!("{error}")
        };
        assert_eq!((what.as_str(), fix.as_str()), ("pause, snapshots and forks", why));
    }
    assert_eq!(bench.names(), ["work"]);
    assert!(kept(&bench).is_empty());
    assert_eq!(output(engine, "work", "echo on").await, "on\n");
}

/// An engine on the bench's machine whose snapshots may take so much.
fn limited(bench: &Bench, max_bytes: u64) -> Engine {
    let mut backends = Registry::new();
    backends.add(std::sync::Arc::new(bench.fake.clone()), true);
    let store = Store::open(bench.engine.store().state_dir()).unwrap();
    Engine::open(store, backends).with_snapshot_limit(Some(max_bytes))
}

#[tokio::test]
async fn the_limit_holds_before_and_after_a_take() {
    let bench = Bench::new();
    let mut wanted = spec();
    wanted.resources.memory = Some(Mib(8));
    make(&bench, wanted).await;
    let work = name("work");
    let calls = |bench: &Bench| bench.fake.calls().iter().filter(|call| call.verb == "take").count();
    // What its memory may hold would not fit: nothing is tried.
    let error = limited(&bench, 4 << 20).take_snapshot(&work, None).await.unwrap_err();
    assert!(matches!(error, EngineError::Store(StoreError::SnapshotsFull { .. })), "{error}");
    assert_eq!((error.kind(), calls(&bench)), (ErrorKind::Conflict, 0));
    let engine = limited(&bench, 10 << 20);
    engine.take_snapshot(&work, None).await.unwrap();
    assert_eq!(calls(&bench), 1);
    bench.fake.assert_clean();

    // Without a limit of memory it is only known afterwards.
    let bench = self::bench().await;
    let error = limited(&bench, 1 << 20).take_snapshot(&work, None).await.unwrap_err();
    assert!(matches!(error, EngineError::Store(StoreError::SnapshotsFull { .. })), "{error}");
    assert_eq!((calls(&bench), kept(&bench).len()), (1, 0));
    assert_eq!(phase(&bench, "work").await, Phase::Running);
    bench.fake.assert_clean();
}

#[tokio::test]
async fn ports_and_mounts_are_not_copied() {
    let bench = Bench::new();
    let mut wanted = spec();
    wanted.network = NetworkAccess::On;
    wanted.mounts = vec![agentkernel_model::Mount {
        source: bench.dir.path().to_owned(),
        target: "/mnt".parse().unwrap(),
        access: agentkernel_model::Access::ReadOnly,
    }];
    make(&bench, wanted).await;
    let error = bench.engine.take_snapshot(&name("work"), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(kept(&bench).is_empty());
    let mut wanted = spec();
    wanted.ports = vec!["127.0.0.1:0:80".parse().unwrap()];
    let copy = crate::snapshots::spec_of_copy(&wanted, &name("work"), &name("copy"));
    assert!(copy.ports.is_empty() && copy.hostname == "copy");
}

#[tokio::test]
async fn the_image_of_a_snapshot_is_in_use() {
    use agentkernel_model::ImageId;
    let bench = bench().await;
    bench.engine.take_snapshot(&name("work"), Some(&snapshot("s"))).await.unwrap();
    let image: ImageId = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let path = bench.engine.store().state_dir().join("snapshots/s/record.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["spec"]["image_id"] = serde_json::json!(image);
    std::fs::write(&path, record.to_string()).unwrap();
    assert!(bench.engine.images_in_use().unwrap().contains(&image));
    assert_eq!(bench.engine.snapshots_of_image(&image).unwrap(), [snapshot("s")]);
    std::fs::write(&path, "{").unwrap();
    let error = bench.engine.images_in_use().unwrap_err();
    assert!(error.to_string().contains("agentkernel snapshot remove s"), "{error}");
    assert_eq!(bench.engine.unreadable_snapshots().unwrap().len(), 1);
    bench.engine.remove_snapshot(&snapshot("s")).await.unwrap();
}
