//! Owners of boxes that are killed at any moment of a start or after it: whatever there was of the box is gone once its
//! leftovers are reclaimed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use agentkernel_backend::Backend;
use agentkernel_testkit::conformance::eventually;
use libtest_mimic::Trial;

use crate::fake::{Act, Plan};
use crate::hostile::spec;
use crate::stage::{Stage, trial};

/// The name under which this program is an owner: with the stage's folder behind it.
const OWNER: &str = "an-owner-of-boxes";
/// How many are killed, unless AGENTKERNEL_TEST_KILLS says.
const KILLS: u32 = 500;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("kills::nothing_outlives_reclaiming", nothing_outlives_reclaiming)]
}

/// Makes a box, says so, and waits to be killed.
pub(crate) fn owner_main() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let [name, folder] = arguments.as_slice() else { return None };
    if name != OWNER {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let backend = Stage::backend_in(Path::new(folder));
        let _made = backend.launch(&spec(&*backend).await).await.unwrap();
        println!("ready");
        std::future::pending::<()>().await;
    });
    Some(ExitCode::SUCCESS)
}

fn owner(folder: &Path) -> Child {
    use std::os::unix::process::CommandExt as _;
    let mut owner = Command::new(std::env::current_exe().unwrap());
    owner.arg0(OWNER).arg(folder).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap()
}

/// How long a whole start takes here and now.
fn time_of_a_start(folder: &Path) -> Duration {
    let begun = Instant::now();
    let mut owner = owner(folder);
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let taken = begun.elapsed();
    owner.kill().unwrap();
    owner.wait().unwrap();
    taken
}

/// A process that its owner was just starting holds the lease for the moment that it takes to see that it is alone.
async fn reclaim_all(backend: &dyn Backend, stage: &Stage) {
    eventually("the end of all boxes", || async {
        backend.reclaim(&[]).await.unwrap();
        stage.boxes().is_empty()
    })
    .await;
}

async fn nothing_outlives_reclaiming() {
    let kills =
        std::env::var("AGENTKERNEL_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let stage = Stage::new();
    let by_the_book = vec![Act::Says(b"M".to_vec()), Act::Hears, Act::Says(b"RR".to_vec()), Act::Stays];
    let backend = stage.backend(&Plan { agent: by_the_book, ..Plan::default() });
    // The first makes what all others find.
    time_of_a_start(stage.folder());
    let whole = time_of_a_start(stage.folder());
    let mut with_something = 0;
    for number in 0..kills {
        let mut owner = owner(stage.folder());
        // sleep: to a moment that sweeps a whole start and a while behind it
        tokio::time::sleep(whole.mul_f64(1.3 * f64::from(number) / f64::from(kills))).await;
        owner.kill().unwrap();
        owner.wait().unwrap();
        with_something += u32::from(!stage.boxes().is_empty());
        // Some are left to the next, as when nobody looks for a while.
        if number % 3 != 0 {
            reclaim_all(&*backend, &stage).await;
        }
    }
    reclaim_all(&*backend, &stage).await;
    eventually("the end of all processes", || async { stage.processes().is_empty() }).await;
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
