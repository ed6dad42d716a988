//! Limits hold against a command that wants more, and only against it.

use std::time::{Duration, Instant};

use agentkernel_backend::{BackendError, Guest};
use agentkernel_model::{Cpus, Mib, Outcome, Signal};

use super::super::ask::{collect, count_processes, eventually, run, script, shell};
use super::super::scene::Scene;

pub(in super::super) async fn memory(scene: &Scene) {
    let guest = scene.guest_with(|spec| spec.resources.memory = Some(Mib(64))).await;
    // dd takes one buffer of its block size and fills it.
    let within_limit = run(&*guest, &script("dd if=/dev/zero of=/dev/null bs=16777216 count=1")).await;
    assert_eq!(within_limit.outcome, Outcome::Exited(0), "{within_limit:?}");
    let bomb = run(&*guest, &script("dd if=/dev/zero of=/dev/null bs=268435456 count=1")).await;
    assert_ne!(bomb.outcome, Outcome::Exited(0), "256 MiB in a box of 64");
    assert_eq!(shell(&*guest, "echo alive").await, "alive\n", "the box outlives it");
}

pub(in super::super) async fn memory_counts_files_in_memory(scene: &Scene) {
    let guest = scene.guest_with(|spec| spec.resources.memory = Some(Mib(64))).await;
    let bomb = run(&*guest, &script("dd if=/dev/zero of=/dev/shm/f bs=1048576 count=200")).await;
    assert_ne!(bomb.outcome, Outcome::Exited(0), "200 MiB of /dev/shm in a box of 64");
}

pub(in super::super) async fn processes(scene: &Scene) {
    let guest = scene.guest_with(|spec| spec.resources.pids = Some(32)).await;
    // The outer shell stays, so that all of it is one command's tree.
    let text = "(i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; echo survived); sleep 1000";
    let execution = guest.exec(&script(text)).await.expect("started");
    eventually("the limit", || async { guest.processes().await.expect("a list").len() >= 20 }).await;
    for _ in 0..20 {
        let count = guest.processes().await.expect("a list").len();
        assert!(count <= 32, "{count} processes in a box of 32");
    }
    execution.control.signal(Signal::KILL).await.expect("killed");
    let done = collect(execution).await;
    assert!(!done.stdout.starts_with(b"survived"), "100 processes were started in a box of 32");
    eventually("room again", || async { count_processes(&*guest, "sleep 1000").await == 0 }).await;
    assert_eq!(shell(&*guest, "echo alive").await, "alive\n", "the box outlives it");
}

pub(in super::super) async fn open_files(scene: &Scene) {
    let guest = scene.guest_with(|spec| spec.resources.open_files = Some(77)).await;
    assert_eq!(shell(&*guest, "ulimit -n; ulimit -Hn").await, "77\n77\n");
}

pub(in super::super) async fn cpu(scene: &Scene) {
    let mut spec = scene.spec();
    spec.resources.cpus = Cpus::from_millis(250);
    // Whole processors are a limit too, and all that a machine has without a control group around it.
    match scene.backend().launch(&spec).await {
        Err(BackendError::Unsupported { what, fix, .. }) => {
            assert!(what.contains("part of a processor"), "{what}: {fix}");
            return scene.skip(format!("{what} is refused here: {fix}"));
        }
        made => made.expect("started").destroy().await.expect("destroyed"),
    }
    let guest = scene.guest_with(|spec| spec.resources.cpus = Cpus::from_millis(250)).await;
    let execution = guest.exec(&script("while :; do :; done")).await.expect("started");
    let (started, before) = (Instant::now(), used(scene, &*guest).await);
    eventually("two seconds", || async { started.elapsed() > Duration::from_secs(2) }).await;
    let used = used(scene, &*guest).await.saturating_sub(before);
    let share = used.as_secs_f64() / started.elapsed().as_secs_f64();
    // An unlimited loop has a whole core, on a busy machine perhaps half of one.
    assert!(share < 0.40, "a quarter of a core was allowed, {share:.2} was used");
    execution.control.signal(Signal::KILL).await.expect("killed");
    collect(execution).await;
}

async fn used(scene: &Scene, guest: &dyn Guest) -> Duration {
    match scene.processor_time() {
        Some(time) => time,
        None => guest.processes().await.expect("a list").iter().map(|process| process.cpu_time).sum(),
    }
}

async fn fill(guest: &dyn Guest) {
    let done = run(guest, &script("dd if=/dev/zero of=/var/fill bs=1048576 count=64")).await;
    assert_ne!(done.outcome, Outcome::Exited(0), "64 MiB on a disk of 16");
    let message = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(message.contains("No space left") || message.contains("quota"), "{message}");
    let small = "rm -f /var/fill; echo fits > /var/small; cat /var/small";
    assert_eq!(shell(guest, small).await, "fits\n", "room comes back");
}

pub(in super::super) async fn disk(scene: &Scene) {
    let guest = scene.guest_with(|spec| spec.resources.disk = Some(Mib(16))).await;
    fill(&*guest).await;
}

pub(in super::super) async fn disk_of_a_persistent_sandbox(scene: &Scene) {
    let record = scene.record_with(|spec| spec.resources.disk = Some(Mib(16)));
    let backend = scene.backend();
    backend.create(&record).await.expect("created");
    backend.start(&record).await.expect("started");
    fill(&*backend.connect(&record).await.expect("connected")).await;
}
