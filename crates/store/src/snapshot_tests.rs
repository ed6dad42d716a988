//! What the store of snapshots promises, seen from outside.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use agentkernel_model::SnapshotName;

use crate::tests::record;
use crate::{SNAPSHOT_VERSION, SnapshotRecord, SnapshotStore, Store, StoreError, allocated_bytes};

pub(crate) fn snapshot(text: &str) -> SnapshotRecord {
    let source = record("source");
    SnapshotRecord {
        version: SNAPSHOT_VERSION,
        name: name(text),
        source: source.name,
        source_id: source.id,
        created_at: source.created_at,
        bytes: 0,
        spec: source.spec,
    }
}

pub(crate) fn name(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

fn store() -> (tempfile::TempDir, SnapshotStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state")).unwrap().with_patience(Duration::from_millis(50));
    (dir, store.snapshots())
}

/// One of `kib` KiB.
fn take(store: &SnapshotStore, text: &str, kib: usize) -> SnapshotRecord {
    let new = store.reserve(&name(text)).unwrap();
    std::fs::write(new.content().join("memory"), vec![1; kib << 10]).unwrap();
    new.commit(snapshot(text), None).unwrap()
}

fn names(store: &SnapshotStore) -> Vec<String> {
    store.list().unwrap().into_iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn a_snapshot_is_none_before_it_is_whole() {
    let (_dir, store) = store();
    assert!(
        names(&store).is_empty() && store.sweep().unwrap().removed.is_empty(),
        "before there is any folder"
    );
    let new = store.reserve(&name("a")).unwrap();
    assert_eq!(new.content().metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    assert!(std::fs::read_dir(new.content()).unwrap().next().is_none());
    assert!(names(&store).is_empty());
    assert!(matches!(store.open(&name("a")), Err(StoreError::SnapshotBusy { .. })));
    assert!(matches!(store.read(&name("a")), Err(StoreError::SnapshotNotFound { .. })));
    assert!(matches!(store.remove(&name("a")), Err(StoreError::SnapshotBusy { .. })));
    assert!(store.sweep().unwrap().removed.is_empty(), "its maker lives");
    std::fs::write(new.content().join("memory"), vec![1; 1 << 20]).unwrap();
    let written = new.commit(snapshot("a"), None).unwrap();
    assert!((1 << 20..2 << 20).contains(&written.bytes), "{}", written.bytes);
    assert_eq!(store.read(&name("a")).unwrap(), written);
    assert_eq!((names(&store), store.total_bytes().unwrap()), (vec!["a".to_owned()], written.bytes));
}

#[test]
fn of_two_of_one_name_one_wins() {
    let (_dir, store) = store();
    let first = store.reserve(&name("a")).unwrap();
    assert!(matches!(store.reserve(&name("a")), Err(StoreError::SnapshotExists { .. })));
    first.discard().unwrap();
    take(&store, "a", 1);
    assert!(matches!(store.reserve(&name("a")), Err(StoreError::SnapshotExists { .. })));
}

#[test]
fn what_is_read_is_not_removed() {
    let (_dir, store) = store();
    take(&store, "a", 1);
    let (one, other) = (store.open(&name("a")).unwrap(), store.open(&name("a")).unwrap());
    assert!(matches!(store.remove(&name("a")), Err(StoreError::SnapshotBusy { .. })));
    assert!(one.content().join("memory").exists());
    drop((one, other));
    store.remove(&name("a")).unwrap();
    assert!(matches!(store.remove(&name("a")), Err(StoreError::SnapshotNotFound { .. })));
    assert!(matches!(store.open(&name("a")), Err(StoreError::SnapshotNotFound { .. })));
}

#[test]
fn what_passes_the_limit_is_gone_again() {
    let (_dir, store) = store();
    let first = take(&store, "a", 64);
    let new = store.reserve(&name("b")).unwrap();
    std::fs::write(new.content().join("memory"), vec![1; 64 << 10]).unwrap();
    let error = new.commit(snapshot("b"), Some(first.bytes + 1024)).unwrap_err();
    assert!(
        matches!(error, StoreError::SnapshotsFull { .. }) && error.to_string().contains("snapshots.max_size")
    );
    assert_eq!(names(&store), ["a"]);
    assert!(store.sweep().unwrap().removed.is_empty(), "nothing is left of it");
}

#[test]
fn those_without_a_maker_are_swept_and_the_whole_ones_stay() {
    let (_dir, store) = store();
    take(&store, "whole", 1);
    let alive = store.temporary().unwrap();
    drop(store.reserve(&name("half")).unwrap());
    drop(store.temporary().unwrap());
    assert_eq!(store.sweep().unwrap().removed.len(), 2);
    assert!(alive.content().exists());
    assert_eq!(names(&store), ["whole"]);
    alive.discard().unwrap();
    assert!(store.sweep().unwrap().removed.is_empty());
}

#[test]
fn damage_is_told_takes_room_and_can_be_removed() {
    let (_dir, store) = store();
    let bytes = take(&store, "a", 64).bytes;
    let path = store.open(&name("a")).unwrap().content().parent().unwrap().join("record.json");
    for (text, newer) in [("{", false), ("{\"version\":0}", false), ("{\"version\":99,\"x\":1}", true)] {
        std::fs::write(&path, text).unwrap();
        let [(_, Err(error))] = &store.list().unwrap()[..] else { panic!("{text}") };
        assert_eq!(matches!(error, StoreError::NewerVersion { .. }), newer, "{error}");
    }
    assert!(store.total_bytes().unwrap() >= bytes);
    store.remove(&name("a")).unwrap();
    assert!(names(&store).is_empty());
}

#[test]
fn holes_take_no_room() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 30).unwrap();
    std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
    assert!(allocated_bytes(dir.path()).unwrap() < 1 << 20);
    assert_eq!(allocated_bytes(&dir.path().join("none")).unwrap(), 0);
}
