//! Owners that are killed (SIGKILL) at any moment of any verb: the next verb finds its way, and nothing is left.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentkernel_backend::{Backend, BoxRecord};
use agentkernel_backend_docker::EngineKind;
use agentkernel_model::Phase;
use bollard::query_parameters::ListContainersOptionsBuilder;

use crate::bed::{Bed, shell, spec};

const FOLDER: &str = "AGENTKERNEL_TEST_KILLED";
const KIND: &str = "AGENTKERNEL_TEST_KILLED_KIND";
const BOX: &str = "AGENTKERNEL_TEST_KILLED_BOX";

/// The label that says whose a container is.
const OWNER: &str = "agentkernel.owner";

/// Kills of each kind; Podman takes about twice the time for everything.
fn rounds(kind: EngineKind) -> u32 {
    match kind {
        EngineKind::Docker => 20,
        EngineKind::Podman => 8,
    }
}

async fn record(backend: &dyn Backend, folder: &Path, id: &str) -> BoxRecord {
    let dir = folder.join(id);
    std::fs::create_dir_all(&dir).unwrap();
    BoxRecord { name: "killed".parse().unwrap(), id: id.to_owned(), spec: spec(backend).await, dir }
}

/// This test's program as one that is going to be killed: all verbs of a sandbox, or of a one-shot box.
#[tokio::test]
async fn victim() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (kind, variable) = match std::env::var(KIND).as_deref() {
        Ok("podman") => (EngineKind::Podman, "AGENTKERNEL_TEST_PODMAN"),
        _ => (EngineKind::Docker, "AGENTKERNEL_TEST_DOCKER"),
    };
    let state = PathBuf::from(&folder);
    let backend = Bed::find(kind, variable).unwrap().open(&state);
    let Ok(id) = std::env::var(BOX) else {
        let made = backend.launch(&spec(&*backend).await).await.unwrap();
        return made.destroy().await.unwrap();
    };
    let record = record(&*backend, &state, &id).await;
    note_phase(&state, Phase::Creating);
    backend.create(&record).await.unwrap();
    note_phase(&state, Phase::Starting);
    backend.start(&record).await.unwrap();
    note_phase(&state, Phase::Stopping);
    backend.stop(&record, Duration::ZERO).await.unwrap();
    note_phase(&state, Phase::Removing);
    backend.remove(&record).await.unwrap();
}

/// As a sandbox's record has it: noted before a verb begins.
fn note_phase(state: &Path, phase: Phase) {
    std::fs::write(state.join("phase"), phase.to_string()).unwrap();
}

/// The next command after a kill: what it does by the phase that it finds, and on other rounds the same verb once more.
async fn next_verbs(backend: &dyn Backend, record: &BoxRecord, state: &Path, again: bool) {
    let phase = std::fs::read_to_string(state.join("phase")).unwrap_or_default();
    backend.running(record).await.unwrap();
    if phase == Phase::Creating.to_string() && again {
        backend.create(record).await.unwrap();
    } else if [Phase::Starting, Phase::Stopping].iter().any(|it| it.to_string() == phase) {
        backend.stop(record, Duration::ZERO).await.unwrap();
        assert!(backend.running(record).await.unwrap().is_none());
    } else {
        return;
    }
    backend.start(record).await.unwrap();
    let guest = backend.connect(record).await.unwrap();
    assert_eq!(shell(&*guest, "echo alive").await.1, "alive\n", "{phase}");
}

/// Starts the victim and kills it after `delay`, or waits for its end; returns how long it lived.
async fn killed(bed: &Bed, state: &Path, id: Option<&str>, delay: Option<Duration>) -> Duration {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::victim"]).env(FOLDER, state).env(KIND, bed.kind.name());
    command.envs(id.map(|id| (BOX, id))).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    if let Some(delay) = delay {
        // sleep: a moment for the kill, and nothing that is waited for.
        tokio::time::sleep(delay).await;
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    assert!(delay.is_some() || status.success(), "{}: it fails when nothing kills it", bed.kind.name());
    started.elapsed()
}

/// The containers of `owner`.
async fn containers(bed: &Bed, owner: &str) -> Vec<String> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{OWNER}={owner}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = bed.engine().list_containers(Some(options)).await.unwrap();
    found.into_iter().filter_map(|container| container.names).flatten().collect()
}

/// What the label says for the owner of `state`.
async fn owner(bed: &Bed, state: &Path, id_tail: &str) -> String {
    let backend = bed.open(state);
    let record = record(&*backend, state, &format!("{:08x}0000{id_tail}", std::process::id())).await;
    backend.create(&record).await.unwrap();
    let made = bed.engine().inspect_container(&format!("agentkernel-{}", record.id), None).await.unwrap();
    backend.remove(&record).await.unwrap();
    made.config.unwrap().labels.unwrap().remove(OWNER).unwrap()
}

/// Moments all over a victim's life, in no order that an engine could get used to.
fn moments(life: Duration, rounds: u32) -> impl Iterator<Item = Duration> {
    // 7 has no factor in common with any number of rounds here.
    (0..rounds).map(move |round| life * (round * 7 % rounds + 1) / rounds)
}

#[tokio::test]
async fn a_sandbox_is_found_whatever_its_owner_was_killed_at() {
    for bed in Bed::all() {
        let (state, title) = (tempfile::tempdir().unwrap(), bed.kind.name());
        let owner = owner(&bed, state.path(), "fff1").await;
        let id = |round: usize| format!("{:08x}{round:08x}", std::process::id());
        let life = killed(&bed, state.path(), Some(&id(0)), None).await;
        let begun = Instant::now();
        for (round, moment) in moments(life, rounds(bed.kind)).enumerate() {
            let id = id(round + 1);
            std::fs::remove_file(state.path().join("phase")).ok();
            killed(&bed, state.path(), Some(&id), Some(moment)).await;
            let backend = bed.open(state.path());
            let record = record(&*backend, state.path(), &id).await;
            next_verbs(&*backend, &record, state.path(), round % 2 == 0).await;
            backend.remove(&record).await.unwrap();
            assert_eq!(std::fs::read_dir(&record.dir).unwrap().count(), 0, "{title} {moment:?}");
            assert!(backend.running(&record).await.unwrap().is_none());
        }
        assert_eq!(containers(&bed, &owner).await, Vec::<String>::new(), "{title}");
        println!("{title}: {} kills within {life:?}, in {:?}", rounds(bed.kind), begun.elapsed());
    }
}

#[tokio::test]
async fn one_shot_boxes_go_whatever_their_owner_was_killed_at() {
    for bed in Bed::all() {
        let (state, title) = (tempfile::tempdir().unwrap(), bed.kind.name());
        let owner = owner(&bed, state.path(), "fff2").await;
        let life = killed(&bed, state.path(), None, None).await;
        let begun = Instant::now();
        for moment in moments(life, rounds(bed.kind)) {
            killed(&bed, state.path(), None, Some(moment)).await;
            bed.open(state.path()).reclaim(&[]).await.unwrap();
            for folder in ["leases", "boxes"] {
                let left = std::fs::read_dir(state.path().join(title).join(folder)).into_iter().flatten();
                assert_eq!(left.count(), 0, "{title} {moment:?} {folder}");
            }
        }
        assert_eq!(containers(&bed, &owner).await, Vec::<String>::new(), "{title}");
        println!("{title}: {} kills within {life:?}, in {:?}", rounds(bed.kind), begun.elapsed());
    }
}
