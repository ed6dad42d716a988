//! Snapshots by the fake: order of states, relative names, many machines from one.

use agentkernel_backend_firecracker::api::{ApiError, InstanceState};
use agentkernel_backend_firecracker::vmm::{
    Life, Machine, RestoreSpec, SnapshotFiles, Snapshots as _, Vmm as _, VmmError,
};
use libtest_mimic::Trial;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fake::{Fault, Plan, Saved, Wrong};
use crate::stage::{SOON, Stage, trial, unnoted};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("snapshots::one_snapshot_makes_many_machines", one_snapshot_makes_many_machines),
        trial("snapshots::only_a_paused_machine_can_be_taken", only_a_paused_machine_can_be_taken),
        trial("snapshots::a_bad_snapshot_is_refused", a_bad_snapshot_is_refused),
        trial("snapshots::qemu_has_none", qemu_has_none),
    ]
}

async fn echoes(machine: &Machine) {
    let mut stream = machine.connect(1024, SOON).await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
}

/// As the caller does: out of the machine's folder, and readable for all that come from it.
pub(crate) fn moved(stage: &Stage, files: &SnapshotFiles) -> SnapshotFiles {
    use std::os::unix::fs::PermissionsExt;
    let to = |from: &std::path::Path, name: &str| {
        let path = stage.path(name);
        std::fs::rename(from, &path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        path
    };
    SnapshotFiles { state: to(&files.state, "taken.state"), memory: to(&files.memory, "taken.memory") }
}

fn restore_spec(stage: &Stage, id: &str, snapshot: &SnapshotFiles, tap: Option<&str>) -> RestoreSpec {
    RestoreSpec {
        site: stage.site(id, Life::WithOwner),
        snapshot: snapshot.clone(),
        drives: stage.spec(&Plan::default()).drives,
        tap: tap.map(str::to_owned),
        resume: true,
    }
}

async fn one_snapshot_makes_many_machines() {
    let stage = Stage::new();
    let firecracker = stage.firecracker();
    let mut spec = stage.spec(&Plan::default());
    spec.network = Some(Stage::interface());
    let (machine, _) = firecracker.start(&spec, &mut unnoted).await.unwrap().ready(SOON).await.unwrap();
    firecracker.pause(&machine).await.unwrap();
    let files = moved(&stage, &firecracker.take(&machine).await.unwrap());
    firecracker.resume(&machine).await.unwrap();
    echoes(&machine).await;
    let mut others = Vec::new();
    for id in ["c-1", "c-2", "c-3"] {
        let spec = restore_spec(&stage, id, &files, Some("tap9"));
        let other = firecracker.restore(&spec, &mut unnoted).await.unwrap();
        echoes(&other).await;
        others.push(other);
    }
    let rooms: std::collections::HashSet<_> = others.iter().map(|other| other.note().room).collect();
    assert_eq!(rooms.len(), 3);
    for other in others {
        other.end().unwrap();
    }
    echoes(&machine).await;
    let waiting = RestoreSpec { resume: false, ..restore_spec(&stage, "c-1", &files, None) };
    let waiting = firecracker.restore(&waiting, &mut unnoted).await.unwrap();
    let api = waiting.api().unwrap().unwrap();
    assert_eq!(api.instance().await.unwrap().state, InstanceState::Paused);
    firecracker.resume(&waiting).await.unwrap();
    assert_eq!(api.instance().await.unwrap().state, InstanceState::Running);
    waiting.end().unwrap();
    machine.end().unwrap();
    for id in ["m-1", "c-1", "c-2", "c-3"] {
        stage.assert_nothing_left(id);
    }
}

async fn only_a_paused_machine_can_be_taken() {
    let stage = Stage::new();
    let firecracker = stage.firecracker();
    let started = firecracker.start(&stage.spec(&Plan::default()), &mut unnoted).await.unwrap();
    let (machine, _) = started.ready(SOON).await.unwrap();
    let error = firecracker.take(&machine).await.unwrap_err();
    assert!(matches!(error, VmmError::Api(ApiError::Refused { status: 400, .. })), "{error}");
    let room = machine.note().room;
    assert!(!room.join("snapshot.state").exists() && !room.join("snapshot.memory").exists());
    machine.end().unwrap();
}

async fn a_bad_snapshot_is_refused() {
    let stage = Stage::new();
    let firecracker = stage.firecracker();
    let memory = stage.file("memory", "m");
    let good = SnapshotFiles { state: stage.file("state", &Saved::default().seal()), memory };
    let restore = async |files: &SnapshotFiles, tap: Option<&str>| {
        let spec = restore_spec(&stage, "c-1", files, tap);
        firecracker.restore(&spec, &mut unnoted).await.map(drop)
    };
    restore(&good, None).await.unwrap();
    stage.assert_nothing_left("c-1");
    let error = restore(&good, Some("tap9")).await.unwrap_err().to_string();
    assert!(error.contains("Unknown Network Device"), "{error}");
    let corrupt = SnapshotFiles { state: stage.file("corrupt", "garbage"), ..good.clone() };
    let error = restore(&corrupt, None).await.unwrap_err();
    assert!(matches!(error, VmmError::Api(ApiError::Refused { status: 400, .. })), "{error}");
    let missing = SnapshotFiles { memory: stage.path("no-memory"), ..good.clone() };
    let error = restore(&missing, None).await.unwrap_err().to_string();
    assert!(error.contains("no-memory"), "{error}");
    let fault = Fault { at: "PUT /snapshot/load".to_owned(), wrong: Wrong::Die };
    let plan = serde_json::to_string(&Plan { fault: Some(fault), ..Plan::default() }).unwrap();
    let dies = SnapshotFiles { state: stage.file("dies", &plan), ..good };
    let error = restore(&dies, None).await.unwrap_err();
    assert!(matches!(error, VmmError::Ended { during: "it was restored", .. }), "{error}");
    stage.assert_nothing_left("c-1");
}

async fn qemu_has_none() {
    let stage = Stage::new();
    let started = stage.qemu().start(&stage.spec(&Plan::default()), &mut unnoted).await.unwrap();
    let (machine, _) = started.ready(SOON).await.unwrap();
    let error = stage.firecracker().pause(&machine).await.unwrap_err();
    assert!(matches!(error, VmmError::Unsupported { vmm: "qemu", .. }), "{error}");
    machine.end().unwrap();
}
