//! Pause, snapshots and forks.

use agentkernel_api::{ErrorCode, EventKind, ForkRequest, RestoreRequest, SnapshotRequest};
use agentkernel_model::Feature;
use agentkernel_testkit::fake::FakeBackend;

use super::{Bench, admin, caller, code, exec};
use crate::{ExecExtra, Limits, Scope, Verdict};

fn take(sandbox: &str, name: Option<&str>) -> SnapshotRequest {
    SnapshotRequest { sandbox: sandbox.to_owned(), name: name.map(str::to_owned) }
}

fn restore(name: Option<&str>) -> RestoreRequest {
    RestoreRequest { as_name: name.map(str::to_owned) }
}

async fn run(bench: &Bench, sandbox: &str, script: &str) -> String {
    let caller = admin();
    let started = bench.service.exec(&caller, sandbox, exec(script), ExecExtra::default()).await.unwrap();
    started.collect().await.unwrap().stdout
}

#[tokio::test]
async fn what_is_done_is_told_and_written_down() {
    let bench = Bench::new();
    let service = &bench.service;
    bench.sandbox("work").await;
    run(&bench, "work", "echo then > /root/f").await;
    let mut events = service.subscribe(&admin(), None).await.unwrap();
    assert_eq!(service.pause(&admin(), "work").await.unwrap().status, "paused");
    assert_eq!(service.list(&admin(), &[]).await.unwrap()[0].status, "paused");
    let refused = service.exec(&admin(), "work", exec("true"), ExecExtra::default()).await.map(drop);
    assert_eq!(refused.as_ref().unwrap_err().message, "sandbox \"work\": it is paused; resume it first");
    assert_eq!(code(refused), ErrorCode::Conflict);
    assert_eq!(service.resume(&admin(), "work").await.unwrap().status, "running");
    let taken = service.take_snapshot(&admin(), take("work", Some("kept"))).await.unwrap();
    assert_eq!((taken.name.as_str(), taken.source.as_str()), ("kept", "work"));
    assert!(taken.bytes > 0);
    assert_eq!(service.snapshots(&admin()).await.unwrap(), std::slice::from_ref(&taken));
    assert_eq!(service.snapshot(&admin(), "kept").await.unwrap(), taken);
    run(&bench, "work", "echo now > /root/f").await;
    let copy = service.restore_snapshot(&admin(), "kept", restore(Some("copy"))).await.unwrap();
    assert_eq!((copy.name.as_str(), copy.status.as_str()), ("copy", "running"));
    assert_eq!(run(&bench, "copy", "cat /root/f").await, "then\n");
    let request = ForkRequest { count: Some(2), as_name: None };
    let children = service.fork(&admin(), "copy", request).await.unwrap();
    let names: Vec<&str> = children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["copy-1", "copy-2"]);
    assert!(service.remove_snapshot(&admin(), "kept").await.unwrap());
    assert!(!service.remove_snapshot(&admin(), "kept").await.unwrap());
    let mut told = Vec::new();
    while told.last() != Some(&(EventKind::SnapshotRemoved, "work".to_owned())) {
        let event = events.next().await;
        if !matches!(event.kind, EventKind::CommandStarted | EventKind::CommandEnded) {
            told.push((event.kind, event.sandbox.clone().unwrap_or_default()));
        }
    }
    use EventKind::{
        SandboxCreated, SandboxPaused, SandboxResumed, SandboxStarted, SnapshotRemoved, SnapshotTaken,
    };
    let expected = [
        (SandboxPaused, "work"),
        (SandboxResumed, "work"),
        (SnapshotTaken, "work"),
        (SandboxCreated, "copy"),
        (SandboxStarted, "copy"),
        (SandboxCreated, "copy-1"),
        (SandboxStarted, "copy-1"),
        (SandboxCreated, "copy-2"),
        (SandboxStarted, "copy-2"),
        (SnapshotRemoved, "work"),
    ];
    assert_eq!(told, expected.map(|(kind, name)| (kind, name.to_owned())));
    let actions = bench.audit.actions();
    for action in ["pause", "resume", "snapshot_take", "snapshot_restore", "fork", "snapshot_remove"] {
        assert_eq!(actions.iter().filter(|one| **one == (action, Verdict::Allowed)).count(), 1, "{action}");
    }
    for name in ["work", "copy", "copy-1", "copy-2"] {
        service.remove(&admin(), name, true).await.unwrap();
    }
    bench.assert_clean().await;
}

#[tokio::test]
async fn names_are_checked_and_failures_written_down() {
    let bench = Bench::new();
    let service = &bench.service;
    bench.sandbox("work").await;
    for bad in ["", "../x", "a/b"] {
        assert_eq!(code(service.snapshot(&admin(), bad).await), ErrorCode::Invalid);
        assert_eq!(code(service.take_snapshot(&admin(), take(bad, None)).await), ErrorCode::Invalid);
        assert_eq!(code(service.take_snapshot(&admin(), take("work", Some(bad))).await), ErrorCode::Invalid);
        assert_eq!(
            code(service.restore_snapshot(&admin(), "s", restore(Some(bad))).await),
            ErrorCode::Invalid
        );
        let request = ForkRequest { count: None, as_name: Some(bad.to_owned()) };
        assert_eq!(code(service.fork(&admin(), "work", request).await), ErrorCode::Invalid);
    }
    for count in [0, 101] {
        let request = ForkRequest { count: Some(count), as_name: None };
        assert_eq!(code(service.fork(&admin(), "work", request).await), ErrorCode::Invalid);
    }
    assert_eq!(code(service.snapshot(&admin(), "none").await), ErrorCode::NotFound);
    assert_eq!(code(service.restore_snapshot(&admin(), "none", restore(None)).await), ErrorCode::NotFound);
    service.take_snapshot(&admin(), take("work", Some("s"))).await.unwrap();
    assert_eq!(
        code(service.take_snapshot(&admin(), take("work", Some("s"))).await),
        ErrorCode::AlreadyExists
    );
    assert_eq!(
        code(service.restore_snapshot(&admin(), "s", restore(Some("work"))).await),
        ErrorCode::AlreadyExists
    );
    assert!(bench.audit.actions().contains(&("snapshot_take", Verdict::Failed)));
    assert!(bench.audit.actions().contains(&("snapshot_restore", Verdict::Failed)));
}

#[tokio::test]
async fn a_reader_only_looks_and_what_is_missing_is_named() {
    let bench = Bench::of(FakeBackend::new().without(Feature::Snapshots, "use another"), Limits::default());
    bench.sandbox("work").await;
    let (service, reader) = (&bench.service, caller(Scope::Read, None));
    assert!(service.snapshots(&reader).await.unwrap().is_empty());
    assert_eq!(code(service.pause(&reader, "work").await), ErrorCode::Forbidden);
    assert_eq!(code(service.resume(&reader, "work").await), ErrorCode::Forbidden);
    assert_eq!(code(service.fork(&reader, "work", ForkRequest::default()).await), ErrorCode::Forbidden);
    assert_eq!(code(service.take_snapshot(&reader, take("work", None)).await), ErrorCode::Forbidden);
    assert_eq!(code(service.restore_snapshot(&reader, "s", restore(None)).await), ErrorCode::Forbidden);
    assert_eq!(code(service.remove_snapshot(&reader, "s").await), ErrorCode::Forbidden);
    let error = service.pause(&admin(), "work").await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported);
    assert!(error.message.contains("pause, snapshots and forks: use another"), "{error}");
}
