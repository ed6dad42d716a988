//! Copies of running sandboxes, through the whole backend: what they are told, what is refused, and what a full disk does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentkernel_backend::{Backend, BackendError, BoxRecord};
use agentkernel_backend_firecracker::FirecrackerSettings;
use agentkernel_model::{Mib, Resources, SandboxSpec};
use agentkernel_protocol::decode;
use agentkernel_protocol::machine::{MachineSetup, Renewal};
use agentkernel_testkit::conformance::within;
use libtest_mimic::Trial;

use crate::fake::{Act, Fault, Plan, TOLD_RENEWAL, TOLD_SETUP, Wrong};
use crate::hostile;
use crate::small_disk::SmallDisk;
use crate::stage::{Stage, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("copies::each_is_told_who_it_is_and_what_time", each_is_told_who_it_is_and_what_time),
        trial("copies::a_snapshot_knows_what_it_was_made_with", a_snapshot_knows_what_it_was_made_with),
        trial("copies::damaged_snapshots_are_refused_by_name", damaged_snapshots_are_refused_by_name),
        trial("copies::a_full_disk_ends_no_sandbox", a_full_disk_ends_no_sandbox),
        trial("copies::a_snapshot_that_fails_ends_no_sandbox", a_snapshot_that_fails_ends_no_sandbox),
    ]
}

pub(crate) fn good() -> Plan {
    Plan { agent: vec![Act::Serves], ..Plan::default() }
}

pub(crate) async fn spec(backend: &dyn Backend) -> SandboxSpec {
    let resources = Resources { memory: Some(Mib(64)), disk: Some(Mib(64)), ..Resources::default() };
    SandboxSpec { resources, ..hostile::spec(backend).await }
}

/// A sandbox that runs.
pub(crate) async fn running(
    stage: &Stage,
    backend: &dyn Backend,
    spec: &SandboxSpec,
    number: u32,
) -> BoxRecord {
    let record = stage.record(spec, number);
    backend.create(&record).await.unwrap();
    within("a start", backend.start(&record)).await.unwrap();
    record
}

fn room(record: &BoxRecord) -> PathBuf {
    record.dir.join("machine/machine")
}

/// What the agent of a sandbox was told when it was new.
pub(crate) fn told_setup(record: &BoxRecord) -> MachineSetup {
    decode(&std::fs::read(room(record).join(TOLD_SETUP)).unwrap()).unwrap()
}

/// What it was told last when it went on.
pub(crate) fn told_renewal(record: &BoxRecord) -> Renewal {
    decode(&std::fs::read(room(record).join(TOLD_RENEWAL)).unwrap()).unwrap()
}

fn new_folder(stage: &Stage, name: &str) -> PathBuf {
    let folder = stage.path(name);
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir(&folder).unwrap();
    folder
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

fn text(error: &BackendError) -> String {
    std::iter::successors(std::error::Error::source(error), |error| error.source())
        .fold(error.to_string(), |text, error| format!("{text}: {error}"))
}

/// Nothing of a sandbox that was never made.
fn assert_empty(record: &BoxRecord) {
    let left: Vec<_> = std::fs::read_dir(&record.dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

async fn removed(stage: &Stage, backend: &dyn Backend, records: &[BoxRecord]) {
    for record in records {
        backend.remove(record).await.unwrap();
        assert_empty(record);
    }
    assert!(stage.processes().is_empty(), "{:?}", stage.processes());
}

/// However old what they go on from is, and wherever the host's clock has been set meanwhile.
async fn each_is_told_who_it_is_and_what_time() {
    let stage = Stage::new();
    let backend = stage.backend_with(&good(), &stage.firecracker_settings());
    let snapshots = backend.snapshots().unwrap();
    let spec = spec(&*backend).await;
    let begun = now();
    let mut all = vec![running(&stage, &*backend, &spec, 1).await];
    let setup = told_setup(&all[0]);
    let clock = setup.wall_clock_ns.unwrap();
    assert!((begun..=now()).contains(&clock), "{clock}");
    let mut ids = vec![setup.machine_id];
    let mut entropies = vec![setup.entropy];

    for _ in 0..2 {
        snapshots.pause(&all[0]).await.unwrap();
        let begun = now();
        snapshots.resume(&all[0]).await.unwrap();
        let Renewal { wall_clock_ns, identity } = told_renewal(&all[0]);
        assert!((begun..=now()).contains(&wall_clock_ns.unwrap()) && identity.is_none());
    }
    let folder = new_folder(&stage, "taken");
    snapshots.take(&all[0], &folder).await.unwrap();
    for number in 2..=4 {
        let copy = stage.record(&spec, number);
        let begun = now();
        within("a copy", snapshots.restore(&copy, &folder)).await.unwrap();
        let Renewal { wall_clock_ns, identity } = told_renewal(&copy);
        assert!((begun..=now()).contains(&wall_clock_ns.unwrap()));
        let identity = identity.unwrap();
        assert_eq!(identity.hostname, copy.name.to_string());
        assert!(!ids.contains(&identity.machine_id) && !entropies.contains(&identity.entropy));
        assert!(identity.network.is_none(), "it has none");
        ids.push(identity.machine_id);
        entropies.push(identity.entropy);
        all.push(copy);
    }
    removed(&stage, &*backend, &all).await;
}

/// The command that restores it names no configuration, as that which starts a sandbox.
async fn a_snapshot_knows_what_it_was_made_with() {
    let stage = Stage::new();
    let backend = stage.backend_with(&good(), &stage.firecracker_settings());
    let spec = spec(&*backend).await;
    let source = running(&stage, &*backend, &spec, 1).await;
    let folder = new_folder(&stage, "taken");
    backend.snapshots().unwrap().take(&source, &folder).await.unwrap();
    let unnamed = FirecrackerSettings { is_fake: true, ..FirecrackerSettings::default() };
    let later = stage.backend_with(&good(), &unnamed);
    let copy = stage.record(&spec, 2);
    within("a copy", later.snapshots().unwrap().restore(&copy, &folder)).await.unwrap();
    later.stop(&copy, Duration::from_secs(1)).await.unwrap();
    within("a start", later.start(&copy)).await.unwrap();
    removed(&stage, &*later, &[source, copy]).await;
}

fn open(path: &Path) -> std::fs::File {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::File::options().write(true).open(path).unwrap()
}

/// Another byte; the time of the change is another as well, which the kernel counts in some milliseconds.
fn flip(path: &Path, offset: u64) {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};
    let changed = || path.metadata().map(|meta| (meta.ctime(), meta.ctime_nsec())).unwrap();
    let before = changed();
    let deadline = std::time::Instant::now() + crate::stage::SOON;
    while changed() == before {
        assert!(std::time::Instant::now() < deadline, "the file's time does not change");
        open(path).write_all_at(b"#", offset).unwrap();
    }
}

/// What of a snapshot goes wrong, how, and a word of what is said then.
type Damage = (&'static str, fn(&Path), &'static str);

const DAMAGES: [Damage; 12] = [
    ("state", |path| open(path).set_len(30).unwrap(), "state is damaged: it has 30 bytes"),
    ("state", |path| flip(path, 40), "state is damaged: it is not what was written"),
    ("state", |path| std::fs::remove_file(path).unwrap(), "taken/state: No such file"),
    ("memory", |path| open(path).set_len(1000).unwrap(), "memory is damaged: it has 1000 bytes"),
    ("memory", |path| flip(path, 4000), "memory is damaged: it is not what was written"),
    ("memory", |path| std::fs::remove_file(path).unwrap(), "taken/memory: No such file"),
    ("disk.ext4", |path| open(path).set_len(1 << 20).unwrap(), "disk.ext4 is damaged: it has 1048576 bytes"),
    ("disk.ext4", |path| flip(path, 30 << 20), "disk.ext4 is damaged: it is not what was written"),
    ("disk.ext4", |path| std::fs::remove_file(path).unwrap(), "taken/disk.ext4: No such file"),
    ("machine.json", |path| std::fs::write(path, "{\"format\":").unwrap(), "machine.json: EOF"),
    ("machine.json", |path| std::fs::write(path, "").unwrap(), "machine.json: EOF"),
    ("machine.json", |path| std::fs::remove_file(path).unwrap(), "taken/machine.json: No such file"),
];

async fn damaged_snapshots_are_refused_by_name() {
    let stage = Stage::new();
    let backend = stage.backend_with(&good(), &stage.firecracker_settings());
    let snapshots = backend.snapshots().unwrap();
    let spec = spec(&*backend).await;
    let source = running(&stage, &*backend, &spec, 1).await;
    let processes = stage.processes().len();
    for (number, (part, damage, word)) in (2..).zip(DAMAGES) {
        let folder = new_folder(&stage, "taken");
        snapshots.take(&source, &folder).await.unwrap();
        damage(&folder.join(part));
        let copy = stage.record(&spec, number);
        let error = within("a refusal", snapshots.restore(&copy, &folder)).await.unwrap_err();
        let text = text(&error);
        assert!(text.contains(copy.name.as_str()) && text.contains(word), "{number} {part}: {text}");
        assert!(!text.contains(char::is_control), "{text}");
        assert_empty(&copy);
        assert_eq!(stage.processes().len(), processes, "{:?}", stage.processes());
        // The name is free, and the snapshot itself is nobody's but its owner's.
        let folder = new_folder(&stage, "taken");
        snapshots.take(&source, &folder).await.unwrap();
        within("a copy", snapshots.restore(&copy, &folder)).await.unwrap();
        backend.remove(&copy).await.unwrap();
    }
    removed(&stage, &*backend, &[source]).await;
}

/// It goes on, nothing of the machine's size lies about, and the next snapshot is taken.
async fn assert_goes_on(stage: &Stage, backend: &Arc<dyn Backend>, source: &BoxRecord) {
    assert!(told_renewal(source).identity.is_none());
    std::fs::remove_file(room(source).join(TOLD_RENEWAL)).unwrap();
    for name in ["snapshot.state", "snapshot.memory"] {
        assert!(!room(source).join(name).exists(), "{name} was left");
    }
    assert!(backend.running(source).await.unwrap().is_some());
    within("its agent", backend.connect(source)).await.unwrap();
    let folder = new_folder(stage, "later");
    backend.snapshots().unwrap().take(source, &folder).await.unwrap();
}

async fn a_full_disk_ends_no_sandbox() {
    let stage = Stage::new();
    let plan = Plan { memory_bytes: Some(24 << 20), ..good() };
    let backend = stage.backend_with(&plan, &stage.firecracker_settings());
    let snapshots = backend.snapshots().unwrap();
    let spec = spec(&*backend).await;
    let source = running(&stage, &*backend, &spec, 1).await;
    let folder = new_folder(&stage, "taken");
    {
        let Some(_disk) = SmallDisk::over(&folder, 16) else { return };
        let error = snapshots.take(&source, &folder).await.unwrap_err();
        let text = text(&error);
        let memory = folder.join("memory").display().to_string();
        assert!(text.contains("No space left on device") && text.contains(&memory), "{text}");
    }
    assert_goes_on(&stage, &backend, &source).await;
    // A copy that finds its disk full.
    let copy = stage.record(&spec, 2);
    {
        let Some(_disk) = SmallDisk::over(&copy.dir, 1) else { return };
        std::fs::write(copy.dir.join("filler"), vec![1; 1 << 20]).ok();
        let error = snapshots.restore(&copy, &stage.path("later")).await.unwrap_err();
        let text = text(&error);
        assert!(text.contains("No space left on device") && text.contains(copy.name.as_str()), "{text}");
        assert!(!copy.dir.join("disk.ext4").exists() && !copy.dir.join("machine").exists());
    }
    within("a copy", snapshots.restore(&copy, &stage.path("later"))).await.unwrap();
    removed(&stage, &*backend, &[source, copy]).await;
}

/// Where the monitor itself can't write it, or says so.
async fn a_snapshot_that_fails_ends_no_sandbox() {
    let stage = Stage::new();
    let backend = stage.backend_with(&good(), &stage.firecracker_settings());
    let snapshots = backend.snapshots().unwrap();
    let spec = spec(&*backend).await;
    // The machine itself is started all the same, without being saved.
    for (number, plan) in (1..).zip([
        Plan { memory_bytes: Some(8 << 20), room_bytes: Some(1 << 20), ..good() },
        Plan { fault: Some(Fault { at: "PUT /snapshot/create".to_owned(), wrong: Wrong::Refuse }), ..good() },
    ]) {
        let word = if plan.room_bytes.is_some() { "No space left on device" } else { "fault message" };
        stage.backend_with(&plan, &stage.firecracker_settings());
        let source = running(&stage, &*backend, &spec, number).await;
        let folder = new_folder(&stage, "taken");
        let error = snapshots.take(&source, &folder).await.unwrap_err();
        let text = text(&error);
        assert!(text.contains(word) && text.contains(source.name.as_str()), "{text}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        for name in ["snapshot.state", "snapshot.memory"] {
            assert!(!room(&source).join(name).exists(), "{name} was left");
        }
        assert!(told_renewal(&source).identity.is_none(), "its commands go on");
        within("its agent", backend.connect(&source)).await.unwrap();
        snapshots.pause(&source).await.unwrap();
        snapshots.resume(&source).await.unwrap();
        removed(&stage, &*backend, &[source]).await;
    }
}
