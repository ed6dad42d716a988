//! What stands around machines on their host: a network that reaches the Internet and nothing of the host's, and a control
//! group. In a little world of network namespaces, so that nothing is sent anywhere: a host, and an Internet with a server.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test's own failures, and what it measured")]

mod bed;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkernel_backend::{Backend, BoxRecord, Guest};
use agentkernel_model::{Cpus, Mib, NetworkAccess, SandboxSpec};
use agentkernel_sys::cgroup::{CgroupHost, Resource};
use agentkernel_sys::netlink;
use agentkernel_testkit::conformance::{eventually, shell};
use agentkernel_testkit::plain_spec;

use crate::world::{HOST, World};

const SERVER: &str = "203.0.113.9:8080";
/// Answers on the Internet's side, and no box may ask it.
const METADATA: &str = "169.254.169.254:8080";
/// How long a machine asks for what it must not reach.
const PATIENCE_SECONDS: u32 = 2;

/// Runs a test on the world's host, with the bed's machines.
fn on_host(world: &World, test: impl AsyncFnOnce(Arc<dyn Backend>, &Path) + Send) {
    world.on_host(async move || match bed::prepare().await {
        Ok((state, settings)) => test(bed::open(state.path(), &settings), state.path()).await,
        Err(why) => println!("SKIPPED: {why}"),
    });
}

fn interfaces() -> Vec<String> {
    let mut socket = netlink::Socket::open(netlink::Protocol::Route).unwrap();
    let links = netlink::list_links(&mut socket).unwrap();
    links.into_iter().map(|link| link.name).filter(|name| name.starts_with("ak-")).collect()
}

async fn spec(backend: &dyn Backend) -> SandboxSpec {
    let ready = backend.images().unwrap().find(&bed::image()).await.unwrap().unwrap();
    SandboxSpec {
        image: bed::image(),
        image_id: Some(ready.id),
        network: NetworkAccess::On,
        ..plain_spec(backend.name())
    }
}

/// What a server says to a caller in the machine.
async fn ask(guest: &dyn Guest, server: &str) -> String {
    let server = server.replace(':', " ");
    let line = format!("nc -w {PATIENCE_SECONDS} {server} </dev/null 2>/dev/null || echo no answer");
    shell(guest, &line).await.trim().to_owned()
}

/// The ids of one-shot boxes.
fn boxes(state: &Path) -> Vec<String> {
    let leases = std::fs::read_dir(state.join("firecracker/leases")).into_iter().flatten().flatten();
    leases.map(|lease| lease.file_name().into_string().unwrap()).collect()
}

#[test]
fn machines_reach_the_internet_and_neither_their_host_nor_one_another() {
    let Some(world) = World::new() else { return };
    on_host(&world, async |backend, _| {
        let spec = spec(&*backend).await;
        let launched = Instant::now();
        let (one, other) = (backend.launch(&spec).await.unwrap(), backend.launch(&spec).await.unwrap());
        println!("two machines with a network: {:?}", launched.elapsed());
        let (first, second) = (one.guest(), other.guest());
        assert_eq!(ask(&*first, SERVER).await, HOST, "{}", shell(&*first, "ip addr; ip route").await);
        let address = "ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'";
        let (own, theirs) = (shell(&*first, address).await, shell(&*second, address).await);
        assert_ne!(own, theirs);
        let mac = "cat /sys/class/net/eth0/address";
        assert_ne!(shell(&*first, mac).await, shell(&*second, mac).await);
        shell(&*second, "nc -ll -p 7070 -e echo reached >/dev/null 2>&1 & sleep 0").await;
        let theirs = format!("{}:7070", theirs.trim());
        eventually("its own server", async || ask(&*second, &theirs).await == "reached").await;
        assert_eq!(ask(&*first, &theirs).await, "no answer");
        for out_of_reach in [&format!("{HOST}:9090"), METADATA, "198.51.100.2:8080", "127.0.0.1:9090"] {
            assert_eq!(ask(&*first, out_of_reach).await, "no answer", "{out_of_reach}");
        }
        assert_eq!(ask(&*first, SERVER).await, HOST, "after all that");
        let layers = one.isolation().layers.clone();
        assert!(layers.contains(&"network namespace".to_owned()), "{layers:?}");
        assert_eq!(interfaces().len(), 2);
        for made in [one, other] {
            made.destroy().await.unwrap();
        }
        eventually("the interfaces' end", async || interfaces().is_empty()).await;
        assert!(backend.reclaim(&[]).await.unwrap().objects.is_empty());
    });
}

#[test]
fn a_machine_is_held_by_one_group_that_goes_with_it() {
    let Some(world) = World::new() else { return };
    on_host(&world, async |backend, state| {
        let groups = CgroupHost::detect();
        if let Some(why) = Resource::ALL.into_iter().find_map(|resource| groups.can_limit(resource).err()) {
            println!("SKIPPED: {why}");
            return;
        }
        let mut spec = SandboxSpec { network: NetworkAccess::None, ..spec(&*backend).await };
        (spec.resources.memory, spec.resources.cpus) = (Some(Mib(192)), Cpus::from_millis(1500));
        let made = backend.launch(&spec).await.unwrap();
        let layers = &made.isolation().layers;
        for wanted in ["cpus 1.5", "memory 192 MiB", "control group around the VMM (memory, cpu, pids)"] {
            assert!(layers.iter().any(|layer| layer == wanted), "{wanted}: {layers:?}");
        }
        let ids = boxes(state);
        let group = groups.open(&ids[0]).unwrap().unwrap();
        let processes = group.processes().unwrap();
        assert!(!processes.is_empty(), "nobody is in it");
        for process in &processes {
            let devices = std::fs::read_to_string(format!("/proc/{process}/net/dev")).unwrap();
            assert_eq!(devices.lines().count(), 3, "two lines of head and the loopback: {devices}");
        }
        let booted = group.usage().unwrap().memory_bytes.unwrap();
        // All of its memory and its disks, as far as it goes.
        let guest = made.guest();
        shell(&*guest, "dd if=/dev/zero of=/dev/shm/f bs=1048576 count=85 2>/dev/null; find / -xdev -type f | head -500 | xargs cat >/dev/null 2>&1; echo").await;
        let filled = group.usage().unwrap();
        println!("192 MiB, {} processes: {} MiB booted, {filled:?}", processes.len(), booted >> 20);
        assert_eq!(shell(&*guest, "echo alive").await, "alive\n");
        assert_eq!(group.oom_kills().unwrap().unwrap_or(0), 0);
        drop(made);
        assert!(groups.open(&ids[0]).unwrap().is_none(), "a box that was dropped left its group");
        backend.reclaim(&[]).await.unwrap();

        let made = backend.launch(&spec).await.unwrap();
        let ids = boxes(state);
        made.destroy().await.unwrap();
        assert!(groups.open(&ids[0]).unwrap().is_none() && boxes(state).is_empty());
    });
}

#[test]
fn a_lasting_machine_that_was_killed_leaves_nothing_once_it_is_stopped() {
    let Some(world) = World::new() else { return };
    on_host(&world, async |backend, state| {
        let dir = state.join("record");
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let id = agentkernel_store::random_id().unwrap();
        let record = BoxRecord { name: "lasting".parse().unwrap(), id, spec: spec(&*backend).await, dir };
        backend.create(&record).await.unwrap();
        let groups = CgroupHost::detect();
        for _ in 0..2 {
            backend.start(&record).await.unwrap();
            assert_eq!(ask(&*backend.connect(&record).await.unwrap(), SERVER).await, HOST);
            assert_eq!(interfaces().len(), 1);
            let Ok(Some(group)) = groups.open(&record.id) else { break };
            group.kill().unwrap();
            assert!(backend.running(&record).await.unwrap().is_none());
        }
        backend.stop(&record, Duration::ZERO).await.unwrap();
        assert!(groups.open(&record.id).unwrap().is_none());
        assert!(interfaces().is_empty(), "{:?}", interfaces());
        backend.remove(&record).await.unwrap();
    });
}
