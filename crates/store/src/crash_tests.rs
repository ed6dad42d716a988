//! kill -9 after each change of the file system: this test program starts itself again, and the child aborts at step n.

use std::process::{Command, Stdio};

use agentkernel_model::Phase;

use crate::crash::abort_after;
use crate::snapshot_tests::snapshot;
use crate::tests::{name, record};
use crate::{Store, StoreError};

/// What the child is told: folder, act and step; unset in an ordinary run.
const CHILD: &str = "AGENTKERNEL_STORE_CRASH_CHILD";

fn act(store: &Store, what: &str) -> Result<(), StoreError> {
    match what {
        "create" => store.create(&name("a"), record("a")).map(drop),
        "update" => store.lock(&name("a"))?.update(|record| record.phase = Phase::Running),
        "delete" => store.lock(&name("a"))?.delete(),
        "snapshot" => store.snapshots().reserve(&snapshot("a").name)?.commit(snapshot("a"), None).map(drop),
        "snapshot given up" => store.snapshots().reserve(&snapshot("a").name)?.discard(),
        "snapshot removed" => store.snapshots().remove(&snapshot("a").name),
        other => panic!("{other}"),
    }
}

#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let [folder, what, step] = task.split('|').collect::<Vec<_>>()[..] else { panic!("{task}") };
    let store = Store::open(folder.as_ref()).unwrap();
    abort_after(step.parse().unwrap());
    act(&store, what).unwrap();
    abort_after(0);
}

/// Whether the child got through alive.
fn run(store: &Store, what: &str, step: usize) -> bool {
    let task = format!("{}|{what}|{step}", store.state_dir().display());
    Command::new(std::env::current_exe().unwrap())
        .args(["crash_tests::child", "--exact", "--test-threads=1"])
        .env(CHILD, task)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(&store.sandboxes)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".making.lock")
        .collect();
    names.sort();
    names
}

/// Kills `what` at each of its steps and looks at what is there after a sweep.
fn at_each_step(what: &str, check: impl Fn(usize, &Store)) {
    for step in 1.. {
        assert!(step < 200, "{what} has no end");
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        if what != "create" {
            let mut locked = store.create(&name("a"), record("a")).unwrap();
            locked.update(|record| record.phase = Phase::Stopped).unwrap();
            std::fs::create_dir_all(store.backend_dir(&name("a")).join("x/y/z")).unwrap();
            std::fs::write(store.backend_dir(&name("a")).join("x/file"), "content").unwrap();
        }
        if what == "snapshot removed" {
            act(&store, "snapshot").unwrap();
        }
        let survived = run(&store, what, step);
        // A kill loses the lock with the process: nothing waits.
        let listed = store.list().unwrap();
        assert!(listed.iter().all(|(_, record)| record.is_ok()), "{what} at {step}: {listed:?}");
        let swept = store.sweep().unwrap();
        assert!(swept.failed.is_empty(), "{what} at {step}: {swept:?}");
        let swept = store.snapshots().sweep().unwrap();
        assert!(swept.failed.is_empty(), "{what} at {step}: {swept:?}");
        check(step, &store);
        if survived {
            assert!(step > 2, "{what} took only {step} steps: the crash points are gone");
            return;
        }
    }
}

#[test]
fn a_create_is_there_whole_or_not_at_all() {
    at_each_step("create", |step, store| {
        match store.read(&name("a")) {
            Ok(read) => assert_eq!(read, record("a"), "at {step}"),
            Err(StoreError::NotFound { .. }) => {
                assert_eq!(names(store), [""; 0], "at {step}");
                assert!(store.create(&name("a"), record("a")).is_ok(), "at {step}: the name is free");
            }
            Err(other) => panic!("at {step}: {other}"),
        }
        assert!(store.try_lock(&name("a")).unwrap().is_some(), "at {step}");
    });
}

#[test]
fn an_update_is_the_old_or_the_new() {
    at_each_step("update", |step, store| {
        let phase = store.read(&name("a")).unwrap().phase;
        assert!(matches!(phase, Phase::Stopped | Phase::Running), "at {step}: {phase}");
        let mut locked = store.try_lock(&name("a")).unwrap().unwrap();
        locked.update(|record| record.phase = Phase::Stopping).unwrap();
        assert_eq!(store.read(&name("a")).unwrap().phase, Phase::Stopping);
    });
}

#[test]
fn a_delete_is_finished_by_a_sweep() {
    at_each_step("delete", |step, store| {
        assert!(matches!(store.read(&name("a")), Err(StoreError::NotFound { .. })), "at {step}");
        assert_eq!(names(store), [""; 0], "at {step}");
    });
}

#[test]
fn a_snapshot_is_there_whole_or_not_at_all() {
    for what in ["snapshot", "snapshot given up", "snapshot removed"] {
        at_each_step(what, |step, store| {
            let snapshots = store.snapshots();
            match snapshots.open(&snapshot("a").name) {
                Ok(opened) => {
                    assert!(opened.content().is_dir() && what != "snapshot given up", "{what} at {step}")
                }
                Err(StoreError::SnapshotNotFound { .. }) => {
                    let left = std::fs::read_dir(store.state_dir().join("snapshots")).into_iter().flatten();
                    let left: Vec<_> =
                        left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
                    assert!(left.iter().all(|name| name.ends_with(".lock")), "{what} at {step}: {left:?}");
                    act(store, "snapshot").unwrap();
                }
                Err(other) => panic!("{what} at {step}: {other}"),
            }
        });
    }
}

#[test]
fn of_many_processes_creating_at_once_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state")).unwrap();
    let children: Vec<_> = (0..6)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["crash_tests::child", "--exact", "--test-threads=1"])
                .env(CHILD, format!("{}|create|0", store.state_dir().display()))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let won =
        children.into_iter().map(|mut child| child.wait().unwrap().success()).filter(|won| *won).count();
    assert_eq!(won, 1);
    assert_eq!(names(&store), ["a"]);
}
