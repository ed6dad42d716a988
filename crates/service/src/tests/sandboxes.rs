//! Sandboxes that stay.

use std::collections::BTreeMap;

use agentkernel_api::{CreateRequest, Encoding, ErrorCode, EventKind, InitialFile, StopRequest};
use agentkernel_testkit::fake::Step;

use super::{Bench, admin, code, exec};
use crate::ExecExtra;

#[tokio::test]
async fn a_sandboxs_life_is_told() {
    let bench = Bench::new();
    let service = &bench.service;
    let mut events = service.subscribe(&admin(), None).await.unwrap();
    let made = bench.sandbox("work").await;
    assert_eq!(
        (made.status.as_str(), made.backend.as_str(), made.image.as_str()),
        ("running", "fake", "host")
    );
    assert_eq!(made.profile, "moderate");
    let again = CreateRequest { name: Some("work".to_owned()), start: true, ..CreateRequest::default() };
    assert_eq!(code(service.create(&admin(), again).await), ErrorCode::AlreadyExists);
    let stopped = service.stop(&admin(), "work", StopRequest { grace_ms: Some(0) }).await.unwrap();
    assert_eq!(stopped.status, "stopped");
    assert_eq!(
        code(service.exec(&admin(), "work", exec("true"), ExecExtra::default()).await),
        ErrorCode::Conflict
    );
    assert_eq!(service.start(&admin(), "work").await.unwrap().status, "running");
    assert_eq!(code(service.remove(&admin(), "work", false).await), ErrorCode::Conflict);
    assert!(service.remove(&admin(), "work", true).await.unwrap());
    assert!(!service.remove(&admin(), "work", true).await.unwrap());
    let mut told = Vec::new();
    for _ in 0..5 {
        let event = events.next().await;
        assert_eq!(event.sandbox.as_deref(), Some("work"));
        told.push(event.kind);
    }
    use EventKind::{SandboxCreated, SandboxRemoved, SandboxStarted, SandboxStopped};
    assert_eq!(told, [SandboxCreated, SandboxStarted, SandboxStopped, SandboxStarted, SandboxRemoved]);
    bench.assert_clean().await;
}

#[tokio::test]
async fn names_are_checked_and_made_up() {
    let bench = Bench::new();
    for bad in ["", "../x", "a/b", "-a", "a\0", "ünïcode", &"a".repeat(64)] {
        let request = CreateRequest { name: Some(bad.to_owned()), ..CreateRequest::default() };
        assert_eq!(code(bench.service.create(&admin(), request).await), ErrorCode::Invalid, "{bad}");
        assert_eq!(code(bench.service.info(&admin(), bad).await), ErrorCode::Invalid, "{bad}");
    }
    let made = bench.service.create(&admin(), CreateRequest::default()).await.unwrap();
    assert!(made.name.starts_with("sandbox-") && made.status == "stopped", "{made:?}");
    bench.service.remove(&admin(), &made.name, false).await.unwrap();
    bench.assert_clean().await;
}

#[tokio::test]
async fn lists_are_narrowed_by_labels() {
    let bench = Bench::new();
    for (name, value) in [("a", "1"), ("b", "2")] {
        let labels = BTreeMap::from([("k".to_owned(), value.to_owned())]);
        let request = CreateRequest { name: Some(name.to_owned()), labels, ..CreateRequest::default() };
        bench.service.create(&admin(), request).await.unwrap();
    }
    for (labels, expected) in [
        (vec![], "a b"),
        (vec!["k=2"], "b"),
        (vec!["k"], "a b"),
        (vec!["k=1", "k=2"], ""),
        (vec!["other"], ""),
    ] {
        let labels: Vec<String> = labels.into_iter().map(str::to_owned).collect();
        let found = bench.service.list(&admin(), &labels).await.unwrap();
        let names: Vec<String> = found.into_iter().map(|sandbox| sandbox.name).collect();
        assert_eq!(names.join(" "), expected, "{labels:?}");
    }
}

#[tokio::test]
async fn a_creation_whose_start_fails_leaves_nothing() {
    let bench = Bench::new();
    bench.fake.fail_at(Step::Start);
    let request = CreateRequest { name: Some("a".to_owned()), start: true, ..CreateRequest::default() };
    assert_eq!(code(bench.service.create(&admin(), request).await), ErrorCode::Failed);
    assert!(bench.service.list(&admin(), &[]).await.unwrap().is_empty());
    bench.assert_clean().await;
}

#[tokio::test]
async fn commands_run_in_it_and_its_doings_are_written_down() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let run = |script: &'static str| async {
        let caller = admin();
        let started = bench.service.exec(&caller, "work", exec(script), ExecExtra::default()).await.unwrap();
        started.collect().await.unwrap()
    };
    assert_eq!(run("echo hi > /workspace/f").await.exit_code, 0);
    let result = run("cat /workspace/f; exit 4").await;
    assert_eq!(
        (result.stdout.as_str(), result.exit_code, result.sandbox.as_deref()),
        ("hi\n", 4, Some("work"))
    );
    let records = bench.service.audit_of(&admin(), Some("work"), 100).await.unwrap();
    let actions: Vec<&str> = records.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["create", "exec", "exec_end", "exec", "exec_end"]);
    assert_eq!(
        code(bench.service.exec(&admin(), "nobody", exec("true"), ExecExtra::default()).await),
        ErrorCode::NotFound
    );
    let caller = admin();
    let running = bench.service.exec(&caller, "work", exec("sleep 600"), ExecExtra::default()).await.unwrap();
    let processes = bench.service.processes(&caller, "work").await.unwrap();
    assert!(processes.iter().any(|process| process.command.contains("sleep")), "{processes:?}");
    drop(running);
    bench.settle().await;
}

#[tokio::test]
async fn what_others_change_shows_in_the_next_list() {
    let bench = Bench::new();
    for name in ["a", "b"] {
        bench.sandbox(name).await;
    }
    // Long enough that the records are remembered.
    let store = bench.service.inner.engine.store().clone();
    let settled = |name: &str| {
        let stamp = store.stamp(&name.parse().unwrap()).unwrap().unwrap();
        stamp.is_settled(std::time::SystemTime::now())
    };
    while !(settled("a") && settled("b")) {
        tokio::task::yield_now().await;
    }
    let statuses = || async {
        let all = bench.service.list(&admin(), &[]).await.unwrap();
        all.into_iter().map(|sandbox| format!("{} {}", sandbox.name, sandbox.status)).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(statuses().await, ["a running", "b running"]);
    }
    let other = &bench.service.inner.engine;
    other.stop(&"a".parse().unwrap(), std::time::Duration::ZERO).await.unwrap();
    assert_eq!(statuses().await, ["a stopped", "b running"]);
    other.remove(&"b".parse().unwrap(), true).await.unwrap();
    assert_eq!(statuses().await, ["a stopped"]);
}

#[tokio::test]
async fn files_that_it_starts_with_wait_for_its_first_start() {
    let bench = Bench::new();
    let file = InitialFile {
        path: "/srv/app/main.py".to_owned(),
        content: "print(1)".to_owned(),
        encoding: Encoding::Utf8,
        mode: Some("0755".to_owned()),
    };
    let request =
        CreateRequest { name: Some("a".to_owned()), files: vec![file.clone()], ..CreateRequest::default() };
    assert_eq!(bench.service.create(&admin(), request).await.unwrap().status, "stopped");
    bench.service.start(&admin(), "a").await.unwrap();
    let content = bench.service.read_content(&admin(), "a", "/srv/app/main.py").await.unwrap();
    assert_eq!(content.content, "print(1)");
    assert_eq!(bench.service.stat(&admin(), "a", "/srv/app/main.py").await.unwrap().mode, "0755");
    let outside = InitialFile { path: "/a/../../b".to_owned(), ..file };
    let request = CreateRequest { files: vec![outside], ..CreateRequest::default() };
    let error = bench.service.create(&admin(), request).await.unwrap_err();
    assert!(error.message.starts_with("files[0].path"), "{error}");
}
