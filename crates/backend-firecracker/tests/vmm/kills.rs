//! Owners that are killed at any moment of a start or after it: whatever there was of their boxes is gone once leftovers are
//! reclaimed, or the sandbox removed; and nothing half is used by whoever comes next.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkernel_backend::{Backend, BoxRecord};
use agentkernel_sys::cgroup::CgroupHost;
use agentkernel_testkit::conformance::{eventually, within};
use libtest_mimic::Trial;

use crate::fake::{Act, Plan};
use crate::stage::{Stage, trial};
use crate::{bed, copies, hostile};

/// The name under which this program is an owner: with what it does and the stage's folder behind it.
const OWNER: &str = "an-owner-of-boxes";
/// How many are killed of those of one-shot boxes, unless AGENTKERNEL_TEST_KILLS says; a tenth of it of the others.
const KILLS: u32 = 500;

/// What owners do.
const ONE_SHOT: &str = "one-shot";
const FROM_TEMPLATES: &str = "from-templates";
const LASTING: &str = "lasting";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("kills::nothing_outlives_reclaiming", nothing_outlives_reclaiming),
        trial("kills::nothing_half_of_a_template_is_used", nothing_half_of_a_template_is_used),
        trial("kills::nothing_outlives_a_removal", nothing_outlives_a_removal),
    ]
}

fn kills() -> u32 {
    std::env::var("AGENTKERNEL_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// Makes what it is told to, says so, and waits to be killed.
pub(crate) fn owner_main() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let [name, what, folder] = arguments.as_slice() else { return None };
    if name != OWNER {
        return None;
    }
    let folder = Path::new(folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _made = match what.as_str() {
            ONE_SHOT => {
                let backend = Stage::backend_in(folder);
                Some(backend.launch(&hostile::spec(&*backend).await).await.unwrap())
            }
            FROM_TEMPLATES => {
                let backend = firecracker(folder);
                Some(backend.launch(&copies::spec(&*backend).await).await.unwrap())
            }
            _ => {
                lasting(folder).await;
                None
            }
        };
        println!("ready");
        std::future::pending::<()>().await;
    });
    Some(ExitCode::SUCCESS)
}

fn firecracker(folder: &Path) -> Arc<dyn Backend> {
    bed::open(&folder.join("state"), &Stage::firecracker_settings_in(folder))
}

/// A sandbox that runs, a snapshot of it, and a copy.
async fn lasting(folder: &Path) {
    let backend = firecracker(folder);
    let [source, copy] = records(folder, &*backend).await;
    backend.create(&source).await.unwrap();
    backend.start(&source).await.unwrap();
    let snapshots = backend.snapshots().unwrap();
    snapshots.take(&source, &folder.join("taken")).await.unwrap();
    snapshots.restore(&copy, &folder.join("taken")).await.unwrap();
}

/// The same for all processes of a stage, and nobody else's.
async fn records(folder: &Path, backend: &dyn Backend) -> [BoxRecord; 2] {
    let spec = copies::spec(backend).await;
    [1, 2].map(|number| {
        let mut hasher = DefaultHasher::new();
        (folder, number).hash(&mut hasher);
        Stage::record_in(folder, &spec, number, &format!("{:016x}", hasher.finish()))
    })
}

fn owner(what: &str, folder: &Path) -> Child {
    use std::os::unix::process::CommandExt as _;
    let mut owner = Command::new(std::env::current_exe().unwrap());
    owner.arg0(OWNER).arg(what).arg(folder).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap()
}

/// How long all of it takes here and now.
fn time_of_a_start(what: &str, folder: &Path) -> Duration {
    let begun = Instant::now();
    let mut owner = owner(what, folder);
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let taken = begun.elapsed();
    owner.kill().unwrap();
    owner.wait().unwrap();
    taken
}

/// Kills an owner at a moment of its own, of all that sweep `whole` and a while behind it.
async fn killed(what: &str, folder: &Path, whole: Duration, number: u32, kills: u32) {
    let mut owner = owner(what, folder);
    // sleep: to the moment
    tokio::time::sleep(whole.mul_f64(1.3 * f64::from(number) / f64::from(kills))).await;
    owner.kill().unwrap();
    owner.wait().unwrap();
}

/// A process that its owner was just starting holds the lease for the moment that it takes to see that it is alone.
async fn reclaim_all(backend: &dyn Backend, stage: &Stage) {
    eventually("the end of all boxes", || async {
        backend.reclaim(&[]).await.unwrap();
        stage.boxes().is_empty()
    })
    .await;
}

async fn no_process_is_left(stage: &Stage) {
    eventually("the end of all processes", || async { stage.processes().is_empty() }).await;
}

async fn nothing_outlives_reclaiming() {
    let kills = kills();
    let stage = Stage::new();
    let by_the_book = vec![Act::Says(b"M".to_vec()), Act::Hears, Act::Says(b"RR".to_vec()), Act::Stays];
    let backend = stage.backend(&Plan { agent: by_the_book, ..Plan::default() });
    // The first makes what all others find.
    time_of_a_start(ONE_SHOT, stage.folder());
    let whole = time_of_a_start(ONE_SHOT, stage.folder());
    let mut with_something = 0;
    for number in 0..kills {
        killed(ONE_SHOT, stage.folder(), whole, number, kills).await;
        with_something += u32::from(!stage.boxes().is_empty());
        // Some are left to the next, as when nobody looks for a while.
        if number % 3 != 0 {
            reclaim_all(&*backend, &stage).await;
        }
    }
    reclaim_all(&*backend, &stage).await;
    no_process_is_left(&stage).await;
    let names = |folder: &str| {
        let entries = std::fs::read_dir(stage.path(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    // Of the backend's folder the initramfs is left, which all starts share, and the folders of boxes.
    let strange: Vec<String> = names("state/firecracker")
        .into_iter()
        .filter(|name| !["leases", "boxes"].contains(&name.as_str()) && !name.ends_with(".cpio"))
        .collect();
    assert!(strange.is_empty(), "left behind: {strange:?}");
    assert!(with_something > kills / 10, "kills came too early: {with_something} of {kills} left something");
    println!("{kills} kills, {with_something} of them left something to reclaim");
}

/// Each owner finds no template, and so is killed while it makes one, or before or after that.
async fn nothing_half_of_a_template_is_used() {
    let kills = kills().div_ceil(10);
    let stage = Stage::new();
    let plan = Plan { memory_bytes: Some(32 << 20), ..copies::good() };
    let backend = stage.backend_with(&plan, &stage.firecracker_settings());
    let templates = stage.path("state/firecracker/templates");
    time_of_a_start(FROM_TEMPLATES, stage.folder());
    std::fs::remove_dir_all(&templates).unwrap();
    // Saving goes on for a while behind the start.
    let whole = time_of_a_start(FROM_TEMPLATES, stage.folder()).mul_f64(1.3);
    let mut half = 0;
    for number in 0..kills {
        std::fs::remove_dir_all(&templates).ok();
        killed(FROM_TEMPLATES, stage.folder(), whole, number, kills).await;
        half += u32::from(templates.join("making").exists());
        // What was left half is no hindrance to the next, whether it was reclaimed or not.
        if number % 2 == 0 {
            reclaim_all(&*backend, &stage).await;
            assert!(!templates.join("making").exists());
        }
        let made = within("a box", backend.launch(&copies::spec(&*backend).await)).await.unwrap();
        within("its end", made.destroy()).await.unwrap();
        reclaim_all(&*backend, &stage).await;
    }
    no_process_is_left(&stage).await;
    println!("{kills} kills, {half} of them left half a template");
}

/// A sandbox, its snapshot and its copy, of owners that were killed anywhere in between.
async fn nothing_outlives_a_removal() {
    let kills = kills().div_ceil(10);
    let stage = Stage::new();
    let backend = stage.backend_with(&copies::good(), &stage.firecracker_settings());
    let records = records(stage.folder(), &*backend).await;
    let taken = stage.path("taken");
    let folders = [&taken, &records[0].dir, &records[1].dir];
    let begin = || {
        use std::os::unix::fs::DirBuilderExt as _;
        for folder in folders {
            std::fs::remove_dir_all(folder).ok();
            std::fs::DirBuilder::new().mode(0o700).create(folder).unwrap();
        }
    };
    let remove = async || {
        for record in &records {
            // Twice: whoever removes may be killed as well.
            backend.remove(record).await.unwrap();
            backend.remove(record).await.unwrap();
            let left = std::fs::read_dir(&record.dir).unwrap().map(|entry| entry.unwrap().file_name());
            // What was being written when its writer was killed goes with the record's folder.
            let left: Vec<_> = left.filter(|name| !name.to_string_lossy().ends_with(".new")).collect();
            assert!(left.is_empty(), "{}: {left:?}", record.name);
            assert!(CgroupHost::detect().open(&record.id).unwrap().is_none());
        }
        no_process_is_left(&stage).await;
    };
    begin();
    time_of_a_start(LASTING, stage.folder());
    remove().await;
    begin();
    let whole = time_of_a_start(LASTING, stage.folder());
    remove().await;
    let mut running = 0;
    for number in 0..kills {
        begin();
        killed(LASTING, stage.folder(), whole, number, kills).await;
        for record in &records {
            running += u32::from(backend.running(record).await.unwrap().is_some());
        }
        remove().await;
    }
    assert!(running > kills / 10, "kills came too early: {running} machines were left by {kills}");
    println!("{kills} kills, {running} machines of theirs were removed");
}
