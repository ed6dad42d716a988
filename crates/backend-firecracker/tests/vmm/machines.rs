//! Machines that work: what they are given, what they are around it, and that nothing stays of them.

use std::time::Instant;

use agentkernel_backend_firecracker::api::{
    BalloonUpdate, DriveUpdate, InstanceState, RateLimiter, TokenBucket,
};
use agentkernel_backend_firecracker::vmm::{
    CONSOLE_BYTES, Firecracker, Life, MachineSpec, Started, Vmm, VmmError,
};
use agentkernel_sys::cgroup::{CgroupHost, CgroupLimits, Resource};
use libtest_mimic::Trial;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fake::{Act, GuestPlan, Plan};
use crate::stage::{SOON, Stage, is_root, trial, unnoted};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("machines::firecracker_boots_and_ends", firecracker_boots_and_ends),
        trial("machines::without_a_jailer_it_says_so", without_a_jailer_it_says_so),
        trial("machines::qemu_boots_and_ends", qemu_boots_and_ends),
        trial("machines::a_vmm_has_nothing_that_it_does_not_need", a_vmm_has_nothing_that_it_does_not_need),
        trial("machines::a_flooding_guest_fills_no_disk", a_flooding_guest_fills_no_disk),
        trial("machines::a_second_knock_is_nobodys", a_second_knock_is_nobodys),
        trial("machines::one_vsock_address_serves_all", one_vsock_address_serves_all),
        trial("machines::network_and_limits_reach_the_api", network_and_limits_reach_the_api),
        trial("machines::what_cannot_be_is_refused_by_name", what_cannot_be_is_refused_by_name),
        trial("machines::a_dropped_machine_ends", a_dropped_machine_ends),
        trial("machines::a_vmm_is_in_its_network_and_groups", a_vmm_is_in_its_network_and_groups),
    ]
}

async fn boots(stage: &Stage, vmm: &dyn Vmm, spec: &MachineSpec) {
    let mut notes = Vec::new();
    let started = vmm
        .start(spec, &mut |note| {
            notes.push(note.clone());
            Ok(())
        })
        .await
        .unwrap();
    let (machine, knock) = started.ready(SOON).await.unwrap();
    assert_eq!(knock.version, "9.9.9");
    assert_eq!(notes.last(), Some(&machine.note()), "noted before it ran");
    assert!(machine.last_words().contains("Linux version 0.0"));
    let mut stream = machine.connect(1024, SOON).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
    let refused = machine.connect(7, SOON).await.unwrap_err();
    assert!(refused.to_string().contains("port 7"), "{refused}");
    assert!(!stage.processes().is_empty());
    machine.end().unwrap();
    stage.assert_nothing_left("m-1");
    assert_eq!(std::fs::read(stage.path("image.erofs")).unwrap(), b"image");
}

/// Machines with the same address: each is behind sockets of its own, so nobody reaches another's agent.
async fn one_vsock_address_serves_all() {
    let stage = Stage::new();
    let vmms: [&dyn Vmm; 2] = [&stage.firecracker(), &stage.qemu()];
    for vmm in vmms {
        let mut machines = Vec::new();
        for id in ["m-1", "m-2", "m-3"] {
            let agent = vec![Act::Says(id.as_bytes().to_vec()), Act::Stays];
            let spec = stage.spec_of(id, &Plan { agent, ..Plan::default() }, Life::WithOwner);
            let started = vmm.start(&spec, &mut unnoted).await.unwrap();
            machines.push((id, spec.vsock_cid, started.ready(SOON).await.unwrap().0));
        }
        for (id, address, machine) in machines.iter().rev() {
            assert_eq!(*address, machines[0].1);
            let mut said = [0; 3];
            machine.connect(1024, SOON).await.unwrap().read_exact(&mut said).await.unwrap();
            assert_eq!(said, id.as_bytes());
        }
        machines.into_iter().for_each(|(_, _, machine)| machine.end().unwrap());
        ["m-1", "m-2", "m-3"].iter().for_each(|id| stage.assert_nothing_left(id));
    }
}

async fn firecracker_boots_and_ends() {
    let stage = Stage::new();
    boots(&stage, &stage.firecracker(), &stage.spec(&Plan::default())).await;
    // The same folder serves again.
    boots(&stage, &stage.firecracker(), &stage.spec(&Plan::default())).await;
}

async fn without_a_jailer_it_says_so() {
    let stage = Stage::new();
    let firecracker = Firecracker { jailer: None, ..stage.firecracker() };
    let started = firecracker.start(&stage.spec(&Plan::default()), &mut unnoted).await.unwrap();
    let (machine, _) = started.ready(SOON).await.unwrap();
    let missing = machine.confinement().missing.join("; ");
    assert!(missing.contains("jailer"), "{missing}");
    assert_eq!(is_root(), machine.confinement().layers.join(" ").contains("own user"));
    machine.end().unwrap();
    boots(&stage, &firecracker, &stage.spec(&Plan::default())).await;
}

async fn qemu_boots_and_ends() {
    let stage = Stage::new();
    boots(&stage, &stage.qemu(), &stage.spec(&Plan::default())).await;
    assert!(stage.qemu().snapshots().is_none());
}

async fn a_vmm_has_nothing_that_it_does_not_need() {
    let stage = Stage::new();
    // Something of ours that must not be there.
    let secret = std::fs::File::open("/dev/zero").unwrap();
    let inherited = rustix::io::dup(&secret).unwrap();
    let plan = Plan { guest: GuestPlan::TellsOfItself, ..Plan::default() };
    let plain = Firecracker { jailer: None, ..stage.firecracker() };
    let vmms: [&dyn Vmm; 3] = [&stage.firecracker(), &plain, &stage.qemu()];
    for (index, vmm) in vmms.into_iter().enumerate() {
        let started = vmm.start(&stage.spec(&plan), &mut unnoted).await.unwrap();
        let (machine, _) = started.ready(SOON).await.unwrap();
        let words = machine.last_words();
        assert!(words.contains("environment 0;") && words.contains("session true;"), "{words}");
        assert!(!words.contains("/dev/zero"), "{words}");
        if let Some(owner) = stage.owner() {
            assert!(words.contains(&format!("user {};", owner.user)), "{words}");
            let jailed = index == 0;
            assert_eq!(words.contains("folder /;"), jailed, "{words}");
        }
        machine.end().unwrap();
    }
    drop(inherited);
}

async fn a_flooding_guest_fills_no_disk() {
    let stage = Stage::new();
    let plan = Plan { guest: GuestPlan::Floods, ..Plan::default() };
    let vmms: [&dyn Vmm; 2] = [&stage.firecracker(), &stage.qemu()];
    for vmm in vmms {
        let started = vmm.start(&stage.spec(&plan), &mut unnoted).await.unwrap();
        let (machine, _) = started.ready(SOON).await.unwrap();
        assert_eq!(machine.console().unwrap().len() as u64, CONSOLE_BYTES);
        assert!(machine.last_words().len() < 1000);
        let room = machine.note().room;
        let bytes = |entry: std::fs::DirEntry| entry.metadata().unwrap().len();
        let stored: u64 = std::fs::read_dir(&room).unwrap().map(|entry| bytes(entry.unwrap())).sum();
        assert!(stored < 64 * 1024, "{stored} bytes in {}", room.display());
        machine.end().unwrap();
        stage.assert_nothing_left("m-1");
    }
}

async fn a_second_knock_is_nobodys() {
    let stage = Stage::new();
    let plan = Plan { guest: GuestPlan::KnocksTwice, ..Plan::default() };
    let started = stage.firecracker().start(&stage.spec(&plan), &mut unnoted).await.unwrap();
    let (machine, knock) = started.ready(SOON).await.unwrap();
    assert_eq!(knock.version, "9.9.9");
    assert!(!machine.note().room.join("v.sock_1025").exists());
    machine.end().unwrap();
    stage.assert_nothing_left("m-1");
}

async fn network_and_limits_reach_the_api() {
    let stage = Stage::new();
    let rate = RateLimiter {
        bandwidth: Some(TokenBucket::per_second(1 << 20)),
        ops: Some(TokenBucket { size: 10, refill_time: 100, one_time_burst: Some(50) }),
    };
    // The first whose machines give memory back.
    let plan = Plan { version: Some("1.14.0".to_owned()), ..Plan::default() };
    let mut spec = stage.spec(&plan);
    spec.drives[0].rate = Some(rate);
    let mut interface = Stage::interface();
    interface.receive_rate = Some(rate);
    spec.network = Some(interface.clone());
    let started = stage.firecracker().start(&spec, &mut unnoted).await.unwrap();
    let (machine, _) = started.ready(SOON).await.unwrap();
    let api = machine.api().unwrap().unwrap();
    assert_eq!(api.instance().await.unwrap().state, InstanceState::Running);
    let none = api.balloon_statistics().await.unwrap_err().to_string();
    assert!(none.contains("not enabled"), "nobody looks at them, and they would wake it each second: {none}");
    api.patch_balloon(&BalloonUpdate { amount_mib: 64 }).await.unwrap();
    let update =
        |id: &str| DriveUpdate { drive_id: id.to_owned(), path_on_host: None, rate_limiter: Some(rate) };
    api.patch_drive(&update("drive0")).await.unwrap();
    let unknown = api.patch_drive(&update("drive9")).await.unwrap_err().to_string();
    assert!(
        unknown.contains("PATCH /drives/drive9") && unknown.contains("Invalid block device"),
        "{unknown}"
    );
    machine.end().unwrap();
    // QEMU has no limits for networks, and says so before anything is made.
    let error = stage.qemu().start(&spec, &mut unnoted).await.unwrap_err();
    assert!(matches!(error, VmmError::Unsupported { vmm: "qemu", .. }), "{error}");
    stage.assert_nothing_left("m-1");
}

async fn what_cannot_be_is_refused_by_name() {
    type Change = fn(&mut MachineSpec);
    let changes: [(&str, Change); 13] = [
        ("id `../x`", |spec| spec.site.id = "../x".to_owned()),
        ("id ``", |spec| spec.site.id = String::new()),
        ("not an absolute path", |spec| spec.site.folder = "machine".into()),
        ("not a private folder", |spec| spec.site.folder = "/".into()),
        ("not an absolute path", |spec| spec.kernel = "vmlinux".into()),
        ("/no/such/kernel", |spec| spec.kernel = "/no/such/kernel".into()),
        ("/ is not a file", |spec| spec.initramfs = "/".into()),
        ("1 to 32 processors, not 0", |spec| spec.vcpus = 0),
        ("1 to 32 processors, not 33", |spec| spec.vcpus = 33),
        ("needs memory", |spec| spec.memory.0 = 0),
        ("vsock address 2", |spec| spec.vsock_cid = 2),
        ("printable", |spec| spec.kernel_arguments.push('\n')),
        ("no TAP device is called `a,b`", |spec| {
            let tap = "a,b".to_owned();
            spec.network =
                Some(agentkernel_backend_firecracker::vmm::Interface { tap, ..Stage::interface() });
        }),
    ];
    let stage = Stage::new();
    let vmms: [&dyn Vmm; 2] = [&stage.firecracker(), &stage.qemu()];
    for vmm in vmms {
        for (expected, change) in changes {
            let mut spec = stage.spec(&Plan::default());
            change(&mut spec);
            let error = vmm.start(&spec, &mut unnoted).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
            stage.assert_nothing_left("m-1");
        }
        let mut spec = stage.spec(&Plan::default());
        spec.site.owner =
            spec.site.owner.xor(Some(agentkernel_backend_firecracker::vmm::Owner { user: 0, group: 0 }));
        assert!(matches!(vmm.start(&spec, &mut unnoted).await, Err(VmmError::Invalid { .. })));
    }
}

async fn a_dropped_machine_ends() {
    let stage = Stage::new();
    let vmms: [&dyn Vmm; 2] = [&stage.firecracker(), &stage.qemu()];
    for vmm in vmms {
        let Started { machine, knock } =
            vmm.start(&stage.spec(&Plan::default()), &mut unnoted).await.unwrap();
        drop((machine, knock));
        stage.assert_nothing_left("m-1");
    }
}

async fn a_vmm_is_in_its_network_and_groups() {
    let limits = CgroupLimits { pids: Some(50), ..CgroupLimits::default() };
    let host = CgroupHost::detect();
    if !is_root() || host.can_limit(Resource::Pids).is_err() {
        println!("SKIPPED: needs root and cgroups that take limits");
        return;
    }
    let stage = Stage::new();
    let mut apart = std::process::Command::new("unshare").args(["-n", "sleep", "60"]).spawn().unwrap();
    let network = format!("/proc/{}/ns/net", apart.id());
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let deadline = Instant::now() + SOON;
    while std::fs::read_link(&network).unwrap() == own {
        assert!(Instant::now() < deadline, "unshare does not begin");
        tokio::task::yield_now().await;
    }
    let plan = Plan { guest: GuestPlan::TellsOfItself, ..Plan::default() };
    let plain = Firecracker { jailer: None, ..stage.firecracker() };
    let vmms: [&dyn Vmm; 3] = [&stage.firecracker(), &plain, &stage.qemu()];
    for (index, vmm) in vmms.into_iter().enumerate() {
        let name = format!("test-vmm-{}-{index}", std::process::id());
        let group = host.create(&name, &limits).unwrap();
        let mut spec = stage.spec(&plan);
        spec.site.network_namespace = Some(std::fs::File::open(&network).unwrap().into());
        spec.site.cgroup_birth = group.birth_folder().map(|folder| folder.try_clone_to_owned().unwrap());
        spec.site.cgroup_entries = host.entries(&name, &limits);
        let started = vmm.start(&spec, &mut unnoted).await.unwrap();
        let (machine, _) = started.ready(SOON).await.unwrap();
        let note = machine.note();
        let expected = [&note.process, &note.vsock_process].into_iter().flatten().count();
        assert_eq!(group.processes().unwrap().len(), expected, "{}", vmm.name());
        // In a jail there is no /proc to look at.
        if index > 0 {
            let there = std::fs::read_link(&network).unwrap();
            let words = machine.last_words();
            assert!(words.contains(&format!("network {};", there.display())), "{words}");
        }
        machine.end().unwrap();
        group.remove().unwrap();
    }
    apart.kill().unwrap();
    apart.wait().unwrap();
}
