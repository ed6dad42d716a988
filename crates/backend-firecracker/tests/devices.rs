//! What machines give back and what their devices may move, on real ones: of QEMU, or in the bed firecracker-svm of
//! Firecracker, where the second of each kind goes on from a template.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test's own failures, and what it measured")]

mod bed;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkernel_backend::{Backend, BackendError, BoxRecord, Guest};
use agentkernel_backend_firecracker::vmm::MachineNote;
use agentkernel_backend_firecracker::{DeviceRates, FirecrackerSettings, VmmChoice};
use agentkernel_model::{Mib, NetworkAccess, Resources, SandboxSpec};
use agentkernel_testkit::conformance::{eventually, shell};
use agentkernel_testkit::plain_spec;

/// Of the machine whose memory is watched, and how much of it is used for a while.
const MEMORY: Mib = Mib(256);
const USED: Mib = Mib(100);
/// What of that must be seen to come and go; the rest is what anything else in the machine takes.
const SEEN_KIB: u64 = 70 * 1024;

/// What is written at which limit, and how long that takes at the least: all but what two seconds that were saved up let
/// through, which Firecracker's buckets hold (QEMU's: a tenth of one).
const WRITTEN: Mib = Mib(12);
const BANDWIDTH: Mib = Mib(2);
const SHORTEST: Duration = Duration::from_secs(4);

/// `None`, with the reason printed, where no machine can be made.
async fn prepared() -> Option<(tempfile::TempDir, FirecrackerSettings)> {
    match bed::prepare().await {
        Ok(prepared) => Some(prepared),
        Err(why) => {
            println!("SKIPPED: {why}");
            None
        }
    }
}

async fn spec(backend: &dyn Backend) -> SandboxSpec {
    let ready = backend.images().unwrap().find(&bed::image()).await.unwrap().unwrap();
    SandboxSpec {
        image: bed::image(),
        image_id: Some(ready.id),
        resources: Resources { memory: Some(MEMORY), ..Resources::default() },
        ..plain_spec(backend.name())
    }
}

/// What the VMM of the only one-shot box has in memory, in KiB (proc_pid_status(5)).
fn resident_kib(state: &Path) -> u64 {
    let mut leases = std::fs::read_dir(state.join("firecracker/leases")).unwrap();
    let note = std::fs::read(leases.next().unwrap().unwrap().path()).unwrap();
    assert!(leases.next().is_none());
    let note: MachineNote = serde_json::from_slice(&note).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", note.process.unwrap().pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn fill(guest: &dyn Guest) {
    let line = format!("dd if=/dev/zero of=/dev/shm/f bs=1048576 count={} 2>/dev/null", USED.0);
    shell(guest, &line).await;
}

/// Uses memory, and lets it go.
async fn gives_back(guest: &dyn Guest, state: &Path) {
    let before = resident_kib(state);
    fill(guest).await;
    let filled = resident_kib(state);
    assert!(filled >= before + SEEN_KIB, "{before} KiB before, {filled} KiB filled");
    shell(guest, "rm /dev/shm/f").await;
    let begun = Instant::now();
    eventually("the memory's return", async || resident_kib(state) + SEEN_KIB <= filled).await;
    let (after, took) = (resident_kib(state), begun.elapsed());
    println!("{before} KiB before, {filled} KiB filled, {after} KiB {took:?} after it was free");
}

#[tokio::test]
async fn memory_that_a_machine_no_longer_uses_returns() {
    let Some((state, settings)) = prepared().await else { return };
    let backend = bed::open(state.path(), &settings);
    let spec = spec(&*backend).await;
    let templates = || std::fs::read_dir(state.path().join("firecracker/templates")).into_iter().flatten();
    for _ in 0..2 {
        let made = backend.launch(&spec).await.unwrap();
        let guest = made.guest();
        gives_back(&*guest, state.path()).await;
        // What was given back is whole when it is taken again.
        fill(&*guest).await;
        let zeroes = shell(&*guest, "tr -d '\\0' </dev/shm/f | wc -c; wc -c </dev/shm/f").await;
        assert_eq!(zeroes, format!("0\n{}\n", USED.bytes()));
        made.destroy().await.unwrap();
        println!("templates: {:?}", templates().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>());
        if settings.vmm == VmmChoice::Qemu {
            break;
        }
    }
}

fn record(state: &Path, spec: SandboxSpec) -> BoxRecord {
    let dir = state.join("record");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let id = agentkernel_store::random_id().unwrap();
    BoxRecord { name: "limited".parse().unwrap(), id, spec, dir }
}

/// Starts the sandbox and writes in it.
async fn writes_slowly(backend: &Arc<dyn Backend>, record: &BoxRecord) {
    let isolation = backend.start(record).await.unwrap();
    let layer = format!("disk bandwidth {BANDWIDTH}/s");
    assert!(isolation.layers.contains(&layer), "{:?}", isolation.layers);
    let guest = backend.connect(record).await.unwrap();
    let begun = Instant::now();
    let line = format!("dd if=/dev/zero of=/root/f bs=65536 count={} conv=fsync 2>/dev/null", WRITTEN.0 * 16);
    shell(&*guest, &line).await;
    let took = begun.elapsed();
    println!("{WRITTEN} at {BANDWIDTH}/s: {took:?}");
    assert!(took >= SHORTEST, "{took:?}");
    backend.stop(record, Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_disk_is_no_faster_than_its_limit_at_each_start_of_its_sandbox() {
    let Some((state, mut settings)) = prepared().await else { return };
    let plain = bed::open(state.path(), &settings);
    settings.rates = DeviceRates { disk_bandwidth: Some(BANDWIDTH), ..DeviceRates::default() };
    let limited = bed::open(state.path(), &settings);
    let record = record(state.path(), spec(&*limited).await);
    limited.create(&record).await.unwrap();
    writes_slowly(&limited, &record).await;
    // Whoever starts it later has not to say so again.
    writes_slowly(&plain, &record).await;
    plain.remove(&record).await.unwrap();
}

#[tokio::test]
async fn a_limit_of_the_network_that_qemu_has_not_is_refused_before_anything_is_made() {
    let Some((state, mut settings)) = prepared().await else { return };
    settings.rates = DeviceRates { network_bandwidth: Some(BANDWIDTH), ..DeviceRates::default() };
    let backend = bed::open(state.path(), &settings);
    let spec = SandboxSpec { network: NetworkAccess::On, ..spec(&*backend).await };
    if settings.vmm == VmmChoice::Firecracker {
        println!("SKIPPED: Firecracker has them");
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root's machines have a network at all");
        return;
    }
    let Err(BackendError::Unsupported { what, .. }) = backend.launch(&spec).await.map(drop) else {
        panic!("not refused")
    };
    assert!(what.contains("network_bandwidth"), "{what}");
    assert!(!state.path().join("firecracker/leases").exists());
}
