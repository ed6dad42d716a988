//! What a store promises, seen from outside.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use agentkernel_model::{ImageRef, NetworkAccess, Phase, Profile, Resources, SandboxName, SandboxSpec};
use proptest::prelude::*;

use crate::{ForwarderProcess, RECORD_VERSION, SandboxRecord, Store, StoreError};

pub(crate) fn name(text: &str) -> SandboxName {
    text.parse().unwrap()
}

pub(crate) fn record(text: &str) -> SandboxRecord {
    SandboxRecord {
        version: RECORD_VERSION,
        id: "0123456789abcdef".to_owned(),
        name: name(text),
        created_at: "2026-01-02T03:04:05Z".to_owned(),
        phase: Phase::Creating,
        spec: SandboxSpec {
            backend: "fake".parse().unwrap(),
            image: ImageRef::host(),
            image_id: None,
            profile: Profile::Moderate,
            network: NetworkAccess::On,
            read_only_root: false,
            mounts: Vec::new(),
            ports: Vec::new(),
            env: Vec::new(),
            workdir: "/workspace".parse().unwrap(),
            user: None,
            resources: Resources::default(),
            allow_unlimited: false,
            hostname: "box".to_owned(),
            agent: None,
            labels: BTreeMap::new(),
        },
        ephemeral: false,
        isolation: None,
        config_file: None,
        published: Vec::new(),
        forwarder: None,
        files: Vec::new(),
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state")).unwrap();
    (dir, store)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

fn visible(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".making.lock")
        .collect();
    names.sort();
    names
}

#[test]
fn a_record_lives_from_create_to_delete() {
    let (_dir, store) = store();
    let mut locked = store.create(&name("a"), record("a")).unwrap();
    locked.update(|record| record.phase = Phase::Stopped).unwrap();
    assert_eq!(store.read(&name("a")).unwrap().phase, Phase::Stopped);
    assert_eq!(mode(store.state_dir()), 0o700);
    assert_eq!(mode(&store.backend_dir(&name("a"))), 0o700);
    assert_eq!(mode(&store.folder(&name("a")).join("record.json")), 0o600, "it holds secrets");
    drop(locked);
    store.lock(&name("a")).unwrap().delete().unwrap();
    assert!(matches!(store.read(&name("a")), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.lock(&name("a")), Err(StoreError::NotFound { .. })));
    assert_eq!(visible(&store.sandboxes), [""; 0]);
}

#[test]
fn of_many_creates_at_once_one_wins() {
    let (_dir, store) = store();
    let barrier = Barrier::new(8);
    let won: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    match store.create(&name("a"), record("a")) {
                        Ok(_) => 1,
                        Err(StoreError::AlreadyExists { .. }) => 0,
                        Err(other) => panic!("{other}"),
                    }
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
    assert_eq!(visible(&store.sandboxes), ["a"], "the losers left nothing");
}

#[test]
fn a_held_lock_is_busy_with_its_owner() {
    let (_dir, store) = store();
    let store = store.with_patience(Duration::from_millis(20));
    let held = store.create(&name("a"), record("a")).unwrap();
    assert!(store.try_lock(&name("a")).unwrap().is_none());
    match store.lock(&name("a")) {
        Err(StoreError::Busy { owner_pid, .. }) => assert_eq!(owner_pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(held);
    // The thread of the missed deadline may have the lock for a moment.
    assert!(store.with_patience(Duration::from_secs(10)).lock(&name("a")).is_ok());
}

#[test]
fn who_waited_for_a_deleted_sandbox_finds_none_or_the_new_one() {
    let (_dir, store) = store();
    let held = store.create(&name("a"), record("a")).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.lock(&name("a")).map(|locked| locked.record().id.clone()));
        held.delete().unwrap();
        let fresh = SandboxRecord { id: "f".repeat(16), ..record("a") };
        drop(store.create(&name("a"), fresh).unwrap());
        match waiting.join().unwrap() {
            Ok(id) => assert_eq!(id, "f".repeat(16)),
            Err(StoreError::NotFound { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    });
}

#[test]
fn an_owner_is_seen_while_it_lives() {
    let (_dir, store) = store();
    let locked = store.create(&name("a"), record("a")).unwrap();
    assert!(!store.has_owner(&name("a")).unwrap());
    let owned = locked.own().unwrap();
    assert!(store.has_owner(&name("a")).unwrap());
    drop(owned);
    assert!(!store.has_owner(&name("a")).unwrap());
}

#[test]
fn half_made_folders_are_no_sandboxes_and_are_swept() {
    let (_dir, store) = store();
    std::fs::create_dir_all(store.sandboxes.join("half/backend")).unwrap();
    std::fs::create_dir(store.sandboxes.join(".new-1")).unwrap();
    std::fs::create_dir_all(store.sandboxes.join(".trash-1/backend/deep")).unwrap();
    assert!(store.list().unwrap().is_empty());
    assert!(matches!(store.lock(&name("half")), Err(StoreError::NotFound { .. })));
    let swept = store.sweep().unwrap();
    assert_eq!((swept.removed.len(), swept.failed.len()), (3, 0), "{swept:?}");
    assert_eq!(visible(&store.sandboxes), [""; 0]);
    assert!(store.sweep().unwrap().removed.is_empty());
}

#[test]
fn a_half_made_folder_doesnt_take_the_name() {
    let (_dir, store) = store();
    std::fs::create_dir_all(store.sandboxes.join("a/backend")).unwrap();
    store.create(&name("a"), record("a")).unwrap();
    assert_eq!(visible(&store.sandboxes), ["a"]);
}

#[test]
fn a_sweep_leaves_alone_what_is_being_made_or_deleted() {
    let (_dir, store) = store();
    std::fs::create_dir(store.sandboxes.join(".new-1")).unwrap();
    std::fs::create_dir(store.sandboxes.join(".trash-1")).unwrap();
    let making = store.folders().open_making_lock().unwrap();
    rustix::fs::flock(&making, rustix::fs::FlockOperation::LockShared).unwrap();
    let deleting = crate::place::open_lock_file(&store.sandboxes.join(".trash-1/record.lock"), true).unwrap();
    rustix::fs::flock(&deleting, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(store.sweep().unwrap().removed.is_empty());
    drop((making, deleting));
    assert_eq!(store.sweep().unwrap().removed.len(), 2);
}

#[test]
fn deleting_follows_no_link_and_minds_no_mode_or_depth() {
    let (dir, store) = store();
    let outside = dir.path().join("precious");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "kept").unwrap();
    let locked = store.create(&name("a"), record("a")).unwrap();
    let backend = store.backend_dir(&name("a"));
    symlink(&outside, backend.join("link")).unwrap();
    symlink("/", backend.join("root")).unwrap();
    let mut deep = backend.clone();
    for _ in 0..300 {
        deep = deep.join("d");
        std::fs::create_dir(&deep).unwrap();
        std::fs::write(deep.join("f"), "x").unwrap();
    }
    std::fs::create_dir_all(backend.join("closed/inner")).unwrap();
    std::fs::write(backend.join("closed/inner/file"), "x").unwrap();
    std::fs::create_dir(backend.join("moved-up-1")).unwrap();
    for closed in ["closed/inner", "closed", "d"] {
        std::fs::set_permissions(backend.join(closed), std::fs::Permissions::from_mode(0o000)).unwrap();
    }
    locked.delete().unwrap();
    assert_eq!(visible(&store.sandboxes), [""; 0]);
    assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "kept");
}

#[test]
fn a_mount_below_is_refused_and_what_is_mounted_is_kept() {
    for place in ["", "mounted", "deep/mounted"] {
        refuses_a_mount_at(place);
    }
}

fn refuses_a_mount_at(place: &str) {
    let (dir, store) = store();
    let outside = dir.path().join("precious");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "kept").unwrap();
    let locked = store.create(&name("a"), record("a")).unwrap();
    let target = store.backend_dir(&name("a")).join(place);
    std::fs::create_dir_all(&target).unwrap();
    if let Err(error) = rustix::mount::mount_bind(&outside, &target) {
        println!("SKIPPED: mounting is not allowed here: {error}");
        return;
    }
    let result = locked.delete();
    // Wherever the removal had moved it.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    for line in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if line.starts_with(store.sandboxes.to_str().unwrap()) {
            rustix::mount::unmount(line, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
    assert!(matches!(result, Err(StoreError::StillMounted { .. })), "{place:?}: {result:?}");
    assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "kept", "{place:?}");
    assert_eq!(store.sweep().unwrap().removed.len(), 1, "{place:?}: after the unmount it goes");
    assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "kept", "{place:?}");
}

#[test]
fn the_golden_record_of_version_1_loads() {
    let golden = include_bytes!("../testdata/record-v1.json");
    let read = crate::record::parse(golden, &name("golden"), Path::new("record-v1.json")).unwrap();
    assert_eq!(read.created_at, "2026-01-02T03:04:05Z");
    assert_eq!(read.spec.env.len(), 1);
    assert_eq!(read.forwarder.as_ref().map(|process| process.pid), Some(4242));
    let again = crate::record::to_bytes(&read, Path::new("record-v1.json")).unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(golden.to_vec()).unwrap());
}

#[test]
fn a_record_without_the_later_fields_of_version_1_loads() {
    let mut value: serde_json::Value =
        serde_json::from_slice(include_bytes!("../testdata/record-v1.json")).unwrap();
    let fields = value.as_object_mut().unwrap();
    for later in ["published", "forwarder", "files"] {
        fields.remove(later).unwrap();
    }
    let bytes = serde_json::to_vec(&value).unwrap();
    assert!(crate::record::parse(&bytes, &name("golden"), Path::new("x")).is_ok());
}

#[test]
fn a_newer_version_is_refused_by_its_number() {
    let newer = include_bytes!("../testdata/record-newer.json");
    let error = crate::record::parse(newer, &name("golden"), Path::new("/s/record.json")).unwrap_err();
    assert!(matches!(error, StoreError::NewerVersion { found: 999, .. }));
    assert!(error.to_string().contains("/s/record.json has format version 999"), "{error}");
}

#[test]
fn damaged_records_are_listed_with_their_path() {
    let (_dir, store) = store();
    for (text, content) in [("torn", "{"), ("other", "null"), ("a", "{\"version\": 0}")] {
        let folder = store.sandboxes.join(text);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("record.json"), content).unwrap();
    }
    let swapped = crate::record::to_bytes(&record("x"), Path::new("x")).unwrap();
    std::fs::create_dir(store.sandboxes.join("y")).unwrap();
    std::fs::write(store.sandboxes.join("y/record.json"), swapped).unwrap();
    let list = store.list().unwrap();
    assert_eq!(list.len(), 4);
    for (name, read) in list {
        let error = read.unwrap_err().to_string();
        assert!(error.contains(name.as_str()) && error.contains("damaged"), "{error}");
    }
    assert!(store.sweep().unwrap().removed.is_empty(), "a damaged record is not half made");
}

#[test]
fn a_state_folder_that_cant_be_made_is_named_with_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = Store::open(&dir.path().join("file/state")).unwrap_err().to_string();
    assert!(error.contains("file"), "{error}");
    let full = StoreError::io("write", Path::new("/s/x"))(std::io::Error::from_raw_os_error(28)).to_string();
    assert!(full.contains("/s/x") && full.contains("free some space"), "{full}");
    let read_only =
        StoreError::io("write", Path::new("/s/x"))(std::io::Error::from_raw_os_error(30)).to_string();
    assert!(read_only.contains("--state-dir"), "{read_only}");
}

/// A file system of its own, unmounted in the end; `None` where mounting isn't possible.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn mount() -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        let dir = tempfile::tempdir().unwrap();
        let mounted = mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), Some(c"size=64k"));
        match mounted {
            Ok(()) => Some(Self { dir }),
            Err(error) => {
                println!("SKIPPED: mounting is not allowed here: {error}");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        rustix::mount::unmount(self.dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_is_a_clear_error_and_leaves_nothing() {
    let Some(small) = Small::mount() else { return };
    let store = Store::open(&small.dir.path().join("state")).unwrap();
    let filler = small.dir.path().join("filler");
    drop(std::fs::write(&filler, vec![0; 1 << 20]));
    let error = store.create(&name("a"), record("a")).unwrap_err().to_string();
    assert!(error.contains("free some space") && error.contains("state/sandboxes"), "{error}");
    std::fs::remove_file(filler).unwrap();
    assert_eq!(visible(&store.sandboxes), [""; 0]);
    drop(store.create(&name("a"), record("a")).unwrap());
}

#[test]
fn a_read_only_disk_can_be_read_and_is_a_clear_error_to_write() {
    use rustix::mount::{MountFlags, mount_remount};
    let Some(small) = Small::mount() else { return };
    let state = small.dir.path().join("state");
    let store = Store::open(&state).unwrap();
    drop(store.create(&name("a"), record("a")).unwrap());
    mount_remount(small.dir.path(), MountFlags::RDONLY, "").unwrap();
    let again = Store::open(&state).unwrap();
    assert_eq!(again.list().unwrap().len(), 1);
    let error = again.create(&name("b"), record("b")).unwrap_err().to_string();
    assert!(error.contains("--state-dir"), "{error}");
    let error = Store::open(&small.dir.path().join("other")).unwrap_err().to_string();
    assert!(error.contains("--state-dir") && error.contains("other"), "{error}");
}

#[test]
fn a_failed_update_changes_nothing() {
    let (_dir, store) = store();
    let mut locked = store.create(&name("a"), record("a")).unwrap();
    // A folder in the way of the temporary file fails the write, for root too.
    let way = store.folder(&name("a")).join("record.json.tmp");
    std::fs::create_dir(&way).unwrap();
    assert!(locked.update(|record| record.phase = Phase::Stopped).is_err());
    assert_eq!(locked.record().phase, Phase::Creating);
    assert_eq!(store.read(&name("a")).unwrap().phase, Phase::Creating);
}

#[test]
fn a_record_that_was_written_anew_has_another_stamp() {
    let (_dir, store) = store();
    assert_eq!(store.stamp(&name("a")).unwrap(), None);
    let mut locked = store.create(&name("a"), record("a")).unwrap();
    let before = store.stamp(&name("a")).unwrap().unwrap();
    assert_eq!(store.stamp(&name("a")).unwrap(), Some(before));
    assert!(!before.is_settled(std::time::SystemTime::now()));
    assert!(before.is_settled(std::time::SystemTime::now() + Duration::from_secs(1)));
    locked.update(|record| record.phase = Phase::Stopped).unwrap();
    assert_ne!(store.stamp(&name("a")).unwrap(), Some(before));
    assert_eq!(store.names().unwrap(), [name("a")]);
}

fn any_phase() -> impl Strategy<Value = Phase> {
    proptest::sample::select(vec![
        Phase::Creating,
        Phase::Stopped,
        Phase::Starting,
        Phase::Running,
        Phase::Stopping,
        Phase::Removing,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_last_update_is_what_is_read(
        updates in proptest::collection::vec((any_phase(), any::<bool>(), proptest::option::of(any::<u32>())), 0..8)
    ) {
        let (_dir, store) = store();
        let mut locked = store.create(&name("a"), record("a")).unwrap();
        let mut expected = record("a");
        for (phase, ephemeral, pid) in updates {
            let change = |record: &mut SandboxRecord| {
                record.phase = phase;
                record.ephemeral = ephemeral;
                record.forwarder =
                    pid.map(|pid| ForwarderProcess { pid, start_time: 7, boot_id: "boot".to_owned() });
            };
            locked.update(change).unwrap();
            change(&mut expected);
            prop_assert_eq!(&store.read(&name("a")).unwrap(), &expected);
        }
        drop(locked);
        let locked = store.lock(&name("a")).unwrap();
        prop_assert_eq!(locked.record(), &expected);
    }
}
