//! The real programs, where they are: a QEMU that boots our kernel and our agent, and a Firecracker that is told all that a
//! machine needs. `cargo xtask microvm-bed` brings them and says where they are.

use std::path::PathBuf;
use std::time::Duration;

use agentkernel_backend_firecracker::api::ApiError;
use agentkernel_backend_firecracker::vmm::{
    Acceleration, Drive, Firecracker, Life, Machine, MachineSpec, Qemu, RestoreSpec, Snapshots as _, Started,
    Vmm, VmmError,
};
use agentkernel_testkit::conformance::eventually;
use libtest_mimic::Trial;
use tokio::io::AsyncReadExt as _;

use crate::fake::{GuestPlan, Plan};
use crate::snapshots::moved;
use crate::stage::{Stage, trial, unnoted};

/// A guest boots in about a second; the machine may have much else to do.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("real::qemu_boots_our_kernel_and_agent", qemu_boots_our_kernel_and_agent),
        trial("real::firecracker_takes_all_that_it_is_told", firecracker_takes_all_that_it_is_told),
        trial("real::a_jailed_firecracker_takes_it_too", a_jailed_firecracker_takes_it_too),
        trial("real::the_jailer_jails_what_it_is_given", the_jailer_jails_what_it_is_given),
        trial("real::a_restored_kernel_knows_that_it_is_a_copy", a_restored_kernel_knows_that_it_is_a_copy),
    ]
}

/// What a variable names; says what is missing where it is not set.
fn given(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).map(PathBuf::from);
    if path.is_none() {
        println!("SKIPPED: {name} is not set; `cargo xtask microvm-bed qemu env` says what to set");
    }
    path
}

/// With two drives of different sizes, and a kernel that talks about them.
fn real_spec(stage: &Stage, kernel: PathBuf) -> MachineSpec {
    let mut spec = stage.spec(&Plan::default());
    let initramfs = agentkernel_backend_firecracker::initramfs(agentkernel_agent_binary::AGENT);
    std::fs::write(stage.path("initramfs.cpio"), initramfs).unwrap();
    let drive = |name: &str, mebibytes: u64, read_only| {
        let path = stage.file(name, "");
        std::fs::File::options().write(true).open(&path).unwrap().set_len(mebibytes << 20).unwrap();
        Drive { path, read_only, rate: None }
    };
    spec.kernel = kernel;
    spec.drives = vec![drive("image", 1, true), drive("upper", 2, false)];
    spec.kernel_arguments = "console=ttyS0 reboot=k panic=-1 rdinit=/init -- machine".to_owned();
    spec
}

async fn qemu_boots_our_kernel_and_agent() {
    let parts = ["KERNEL", "QEMU", "VHOST_VSOCK"].map(|part| given(&format!("AGENTKERNEL_TEST_{part}")));
    let [Some(kernel), Some(program), Some(vsock_program)] = parts else { return };
    let stage = Stage::new();
    let qemu = Qemu { program, vsock_program, acceleration: Acceleration::Emulated };
    let started = qemu.start(&real_spec(&stage, kernel), &mut unnoted).await.unwrap();
    let (machine, knock) = started.ready(BOOT_LIMIT).await.unwrap();
    assert!(!knock.version.is_empty());
    let console = String::from_utf8_lossy(&machine.console().unwrap()).into_owned();
    for drive in ["[vda] 2048 512-byte", "[vdb] 4096 512-byte"] {
        assert!(console.contains(drive), "{drive}: {console}");
    }
    // The agent speaks first.
    let mut stream = machine.connect(1024, BOOT_LIMIT).await.unwrap();
    assert!(stream.read_u8().await.is_ok());
    let nobody = machine.connect(1999, Duration::from_secs(5)).await;
    assert!(nobody.is_err(), "nobody listens there");
    machine.end().unwrap();
    stage.assert_nothing_left("m-1");
}

/// Where KVM is a real one the guest boots. Elsewhere the start fails, or the guest does; but nothing that Firecracker was
/// told before that is refused.
async fn takes_all(stage: &Stage, firecracker: &Firecracker, kernel: PathBuf) {
    let spec = real_spec(stage, kernel);
    match firecracker.start(&spec, &mut unnoted).await {
        Ok(started) => boots_or_says_why(firecracker, started).await,
        Err(VmmError::Api(ApiError::Refused { request, fault_message, .. })) => {
            println!("{request} was refused: {fault_message}");
            assert_eq!(request, "PUT /actions", "{fault_message}");
        }
        // An experimental build needs libraries, which are not in a jail.
        Err(VmmError::Ended { words, .. }) if words.contains("No such file or directory") => {
            println!("SKIPPED: this Firecracker is not a static program, which the jailer needs: {words}");
        }
        Err(error) => panic!("{error}"),
    }
    stage.assert_nothing_left("m-1");
}

async fn boots_or_says_why(firecracker: &Firecracker, started: Started) {
    let snapshots = firecracker.snapshots().unwrap();
    if !agentkernel_backend_firecracker::probe::KvmState::of_this_machine().is_real() {
        // It runs, for some instructions; that is enough to ask it for more.
        match started.ready(Duration::from_secs(2)).await {
            Ok((machine, _)) => machine.end().unwrap(),
            Err(error @ (VmmError::Ended { .. } | VmmError::TooSlow { .. })) => println!("{error}"),
            Err(error) => panic!("{error}"),
        }
        return;
    }
    let (machine, _) = started.ready(BOOT_LIMIT).await.unwrap();
    machine.connect(1024, BOOT_LIMIT).await.unwrap();
    snapshots.pause(&machine).await.unwrap();
    let files = snapshots.take(&machine).await.unwrap();
    assert_eq!(std::fs::metadata(&files.memory).unwrap().len(), 128 << 20);
    snapshots.resume(&machine).await.unwrap();
    machine.connect(1024, BOOT_LIMIT).await.unwrap();
    machine.end().unwrap();
}

fn real(jailer: Option<PathBuf>) -> Option<(Firecracker, PathBuf)> {
    let (program, kernel) = (given("FIRECRACKER_BIN")?, given("AGENTKERNEL_TEST_KERNEL")?);
    Some((Firecracker::new(program, jailer), kernel))
}

async fn firecracker_takes_all_that_it_is_told() {
    let Some((firecracker, kernel)) = real(None) else { return };
    takes_all(&Stage::new(), &firecracker, kernel).await;
}

/// The real jailer, with the Firecracker that is not real: which knows what it sees from inside.
async fn the_jailer_jails_what_it_is_given() {
    let Some(jailer) = given("JAILER_BIN") else { return };
    if !crate::stage::is_root() {
        println!("SKIPPED: only root can use the jailer");
        return;
    }
    let stage = Stage::new();
    let firecracker = Firecracker { jailer: Some(jailer), ..stage.firecracker() };
    let plan = Plan { guest: GuestPlan::TellsOfItself, ..Plan::default() };
    let started = firecracker.start(&stage.spec(&plan), &mut unnoted).await.unwrap();
    let (machine, _) = started.ready(BOOT_LIMIT).await.unwrap();
    let words = machine.last_words();
    let user = stage.owner().unwrap().user;
    for part in ["environment 0;", "session true;", &format!("user {user};"), "folder /;"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    machine.connect(1024, BOOT_LIMIT).await.unwrap();
    machine.end().unwrap();
    stage.assert_nothing_left("m-1");
}

/// VMGenID: it makes its random numbers new before anybody in it can be told to, which its console says.
async fn a_restored_kernel_knows_that_it_is_a_copy() {
    let Some((firecracker, kernel)) = real(None) else { return };
    if !agentkernel_backend_firecracker::probe::KvmState::of_this_machine().is_real() {
        println!("SKIPPED: only a KVM that is a real one restores machines (`microvm-bed firecracker-svm`)");
        return;
    }
    let stage = Stage::new();
    let spec = real_spec(&stage, kernel);
    let drives = spec.drives.clone();
    let (machine, _) = firecracker.start(&spec, &mut unnoted).await.unwrap().ready(BOOT_LIMIT).await.unwrap();
    firecracker.pause(&machine).await.unwrap();
    let snapshot = moved(&stage, &firecracker.take(&machine).await.unwrap());
    assert!(!says_that_it_is_a_copy(&machine), "the first is none");
    machine.end().unwrap();
    for id in ["c-1", "c-2"] {
        let (snapshot, drives) = (snapshot.clone(), drives.clone());
        let site = stage.site(id, Life::WithOwner);
        let spec = RestoreSpec { site, snapshot, drives, tap: None, resume: true };
        let copy = firecracker.restore(&spec, &mut unnoted).await.unwrap();
        eventually("a kernel that knows", async || says_that_it_is_a_copy(&copy)).await;
        copy.end().unwrap();
        stage.assert_nothing_left(id);
    }
}

/// In the words of Linux (drivers/char/random.c, since 5.18).
fn says_that_it_is_a_copy(machine: &Machine) -> bool {
    let console = machine.console().unwrap();
    String::from_utf8_lossy(&console).contains("crng reseeded due to virtual machine fork")
}

async fn a_jailed_firecracker_takes_it_too() {
    let Some(jailer) = given("JAILER_BIN") else { return };
    let Some((firecracker, kernel)) = real(Some(jailer)) else { return };
    if !crate::stage::is_root() {
        println!("SKIPPED: only root can use the jailer");
        return;
    }
    takes_all(&Stage::new(), &firecracker, kernel).await;
}
