//! Saved starts, through the whole backend: used, remade where they are damaged, and never at the cost of a start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use agentkernel_backend::{Backend, EphemeralBox};
use agentkernel_model::{Mib, Resources, SandboxSpec};
use agentkernel_testkit::conformance::{eventually, within};
use libtest_mimic::Trial;

use crate::fake::{Act, Fault, Plan, Wrong};
use crate::hostile;
use crate::small_disk::SmallDisk;
use crate::stage::{Stage, trial};

/// The least that a machine may have.
const MEMORY: Mib = Mib(64);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("templates::damaged_ones_are_made_again", damaged_ones_are_made_again),
        trial(
            "templates::one_that_can_not_be_saved_costs_no_start",
            one_that_can_not_be_saved_costs_no_start,
        ),
        trial("templates::a_full_disk_costs_no_start", a_full_disk_costs_no_start),
    ]
}

pub(crate) fn good() -> Plan {
    Plan { agent: vec![Act::Serves], ..Plan::default() }
}

pub(crate) fn backend(stage: &Stage, plan: &Plan) -> Arc<dyn Backend> {
    stage.backend_with(plan, &stage.firecracker_settings())
}

pub(crate) async fn launch(backend: &dyn Backend) -> Box<dyn EphemeralBox> {
    let resources = Resources { memory: Some(MEMORY), ..Resources::default() };
    let spec = SandboxSpec { resources, ..hostile::spec(backend).await };
    within("a box", backend.launch(&spec)).await.unwrap()
}

fn shelf(stage: &Stage) -> PathBuf {
    stage.path("state/firecracker/templates")
}

/// The folders of templates, those that are being made among them.
fn folders(stage: &Stage) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(shelf(stage)).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// The one that is whole, and when it was used last.
pub(crate) fn template(stage: &Stage) -> Option<(PathBuf, SystemTime)> {
    let [folder] = &folders(stage)[..] else { return None };
    let note = folder.join("template.json").metadata().ok()?;
    (!folder.ends_with("making")).then(|| (folder.clone(), note.modified().unwrap()))
}

/// Of the only box that there is: whether its machine has booted, or else came from a template.
fn has_booted(stage: &Stage) -> bool {
    let [room] = &stage.rooms()[..] else { panic!("one box: {:?}", stage.rooms()) };
    let (booted, restored) = (room.join("kernel"), room.join("restored.state"));
    assert_ne!(booted.symlink_metadata().is_ok(), restored.symlink_metadata().is_ok());
    booted.symlink_metadata().is_ok()
}

/// What a VMM has written is not left with its machine.
fn assert_no_files_of_a_snapshot(room: &Path) {
    for name in ["snapshot.state", "snapshot.memory"] {
        assert!(!room.join(name).exists(), "{name} is left in {}", room.display());
    }
}

pub(crate) async fn ended(stage: &Stage, made: Box<dyn EphemeralBox>) {
    within("its end", made.destroy()).await.unwrap();
    assert!(stage.boxes().is_empty(), "{:?}", stage.boxes());
    assert!(stage.processes().is_empty(), "{:?}", stage.processes());
}

/// Starts until one has been saved: none is as long as the one before is being put away.
async fn saved(stage: &Stage, backend: &dyn Backend) {
    eventually("a template", async || {
        if folders(stage).is_empty() {
            ended(stage, launch(backend).await).await;
        }
        template(stage).is_some()
    })
    .await;
}

fn open(path: &Path) -> std::fs::File {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::File::options().write(true).open(path).unwrap()
}

async fn damaged_ones_are_made_again() {
    use std::os::unix::fs::FileExt as _;
    let stage = Stage::new();
    let backend = backend(&stage, &good());
    saved(&stage, &*backend).await;
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 7] = [
        ("state, truncated", |folder| open(&folder.join("state")).set_len(20).unwrap()),
        ("state, one byte", |folder| open(&folder.join("state")).write_all_at(b"#", 40).unwrap()),
        ("state, missing", |folder| std::fs::remove_file(folder.join("state")).unwrap()),
        ("memory, truncated", |folder| open(&folder.join("memory")).set_len(1000).unwrap()),
        ("memory, longer", |folder| open(&folder.join("memory")).set_len(1 << 20).unwrap()),
        ("note, garbage", |folder| std::fs::write(folder.join("template.json"), "{").unwrap()),
        ("note, missing", |folder| std::fs::remove_file(folder.join("template.json")).unwrap()),
    ];
    for (what, damage) in damages {
        let (folder, _) = template(&stage).unwrap();
        damage(&folder);
        let made = launch(&*backend).await;
        assert!(has_booted(&stage), "{what}: it came from what is damaged");
        ended(&stage, made).await;
        saved(&stage, &*backend).await;
        let (_, made_at) = template(&stage).unwrap();
        let made = launch(&*backend).await;
        assert!(!has_booted(&stage), "{what}: the new one is not used");
        assert!(template(&stage).unwrap().1 > made_at);
        ended(&stage, made).await;
    }
    let left = backend.reclaim(&[]).await.unwrap();
    assert!(left.objects.is_empty(), "{left:?}");
}

/// Whatever goes wrong between the machine and its files: the start goes on, and nothing half is there to be used.
async fn one_that_can_not_be_saved_costs_no_start() {
    let stage = Stage::new();
    let fault = |at: &str, wrong| Plan { fault: Some(Fault { at: at.to_owned(), wrong }), ..good() };
    for plan in [
        // As of a disk that gets full while the VMM writes.
        Plan { memory_bytes: Some(8 << 20), room_bytes: Some(3 << 20), ..good() },
        fault("PUT /snapshot/create", Wrong::Refuse),
        fault("PUT /snapshot/create", Wrong::Garbage),
        // That it ends, or does not go on, is another start's affair: which comes at once.
        fault("PUT /snapshot/create", Wrong::Die),
        fault("PATCH /vm", Wrong::Refuse),
        fault("PATCH /vm", Wrong::Die),
    ] {
        let backend = backend(&stage, &plan);
        let made = launch(&*backend).await;
        assert!(has_booted(&stage));
        assert_no_files_of_a_snapshot(&stage.rooms()[0]);
        assert!(folders(&stage).is_empty(), "{:?}", folders(&stage));
        ended(&stage, made).await;
    }
    let backend = backend(&stage, &good());
    saved(&stage, &*backend).await;
}

async fn a_full_disk_costs_no_start() {
    let stage = Stage::new();
    backend(&stage, &good());
    // Less than the memory that it has to be ready for, and less than what is written then.
    for (disk_mebibytes, memory_bytes) in [(32, 4096), (96, 128 << 20)] {
        let Some(disk) = SmallDisk::over(&shelf(&stage), disk_mebibytes) else { return };
        let backend = backend(&stage, &Plan { memory_bytes: Some(memory_bytes), ..good() });
        for _ in 0..2 {
            let made = launch(&*backend).await;
            assert!(has_booted(&stage));
            assert_no_files_of_a_snapshot(&stage.rooms()[0]);
            assert!(folders(&stage).is_empty(), "{:?}", folders(&stage));
            ended(&stage, made).await;
        }
        drop(disk);
    }
    let backend = backend(&stage, &good());
    saved(&stage, &*backend).await;
}
