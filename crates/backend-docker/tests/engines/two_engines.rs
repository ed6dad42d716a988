//! A sandbox remembers its engine: whatever the environment names by now, no other is asked about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkernel_backend::{BackendError, BoxRecord};
use agentkernel_backend_docker::{EngineKind, EngineSettings};

use crate::bed::{Bed, shell, spec};
use crate::stand_in::StandIn;

/// The Docker of the bed behind a link that a test can move, and the stand-in.
struct Two {
    state: tempfile::TempDir,
    real: Bed,
    link: PathBuf,
    other: Bed,
    stand_in: StandIn,
}

fn at(path: &Path) -> Bed {
    Bed { kind: EngineKind::Docker, socket: path.display().to_string() }
}

impl Two {
    fn find() -> Option<Self> {
        let real = Bed::find(EngineKind::Docker, "AGENTKERNEL_TEST_DOCKER");
        let real = real.map_err(|why| eprintln!("SKIPPED: {why}")).ok()?;
        let state = tempfile::tempdir().unwrap();
        let link = state.path().join("real.sock");
        std::os::unix::fs::symlink(&real.socket, &link).unwrap();
        let other = state.path().join("other.sock");
        let stand_in = StandIn::listen(&other);
        Some(Self { state, real, link, other: at(&other), stand_in })
    }

    async fn record(&self, id_tail: &str) -> BoxRecord {
        let dir = self.state.path().join(id_tail);
        std::fs::create_dir(&dir).unwrap();
        let id = format!("{:08x}{id_tail:0>8}", std::process::id());
        let spec = spec(&*self.real.open(self.state.path())).await;
        BoxRecord { name: "lasting".parse().unwrap(), id, spec, dir }
    }

    /// Has the link lead to `target`, or nowhere.
    fn lead(&self, target: Option<&str>) {
        std::fs::remove_file(&self.link).ok();
        target.into_iter().for_each(|target| std::os::unix::fs::symlink(target, &self.link).unwrap());
    }
}

#[tokio::test]
async fn every_verb_asks_the_engine_that_the_sandbox_was_made_on() {
    let Some(two) = Two::find() else { return };
    let state = two.state.path();
    let record = two.record("d1").await;
    at(&two.link).open(state).create(&record).await.unwrap();
    // A runtime that neither has: it is for what is made from now on.
    let settings = EngineSettings { runtime: Some("none-of-these".to_owned()), ..EngineSettings::default() };
    let now = || two.other.open_with(state, settings.clone());
    // A repeated creation makes no second one elsewhere.
    now().create(&record).await.unwrap();
    now().start(&record).await.unwrap();
    let isolation = now().running(&record).await.unwrap().unwrap();
    assert!(isolation.layers.contains(&"runtime runc".to_owned()), "{isolation:?}");
    let guest = now().connect(&record).await.unwrap();
    assert_eq!(shell(&*guest, "echo here").await.1, "here\n");
    now().stop(&record, Duration::from_secs(1)).await.unwrap();
    assert!(now().running(&record).await.unwrap().is_none());
    assert!(two.real.has_container(&record.id).await);
    now().remove(&record).await.unwrap();
    assert!(
        !two.real.has_container(&record.id).await,
        "left behind on the engine that nobody names any more"
    );
    now().remove(&record).await.unwrap();
    assert_eq!(std::fs::read_dir(&record.dir).unwrap().count(), 0);
    assert_eq!(two.stand_in.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn an_engine_that_is_away_has_not_lost_its_sandboxes() {
    let Some(two) = Two::find() else { return };
    let state = two.state.path();
    let record = two.record("d2").await;
    at(&two.link).open(state).create(&record).await.unwrap();
    let other = two.other.socket.clone();
    // Gone, and then another engine in its place.
    for target in [None, Some(other.as_str())] {
        two.lead(target);
        for named in [at(&two.link), two.other.clone()] {
            let backend = named.open(state);
            let refused = [
                backend.remove(&record).await.unwrap_err(),
                backend.start(&record).await.unwrap_err(),
                backend.running(&record).await.unwrap_err(),
                backend.connect(&record).await.map(drop).unwrap_err(),
            ];
            for error in refused {
                let text = error.to_string();
                assert!(matches!(error, BackendError::Unavailable { .. }), "{text}");
                assert!(text.contains(two.link.to_str().unwrap()), "{text}");
                assert!(text.contains(record.dir.to_str().unwrap()), "no way out of it: {text}");
            }
        }
    }
    assert_eq!(two.stand_in.asked(), Vec::<String>::new());
    two.lead(Some(&two.real.socket));
    two.other.open(state).remove(&record).await.unwrap();
    assert!(!two.real.has_container(&record.id).await);
}

#[tokio::test]
async fn what_was_never_made_is_removed_without_an_engine() {
    let Some(two) = Two::find() else { return };
    let record = two.record("d3").await;
    two.lead(None);
    let backend = at(&two.link).open(two.state.path());
    backend.create(&record).await.unwrap_err();
    backend.remove(&record).await.unwrap();
}

#[tokio::test]
async fn a_dead_owners_box_is_looked_for_on_its_own_engine() {
    let Some(two) = Two::find() else { return };
    let state = two.state.path();
    let spec = spec(&*two.real.open(state)).await;
    two.stand_in.be_silent(true);
    let backend = two.other.open(state);
    let launching = tokio::spawn(async move { backend.launch(&spec).await.map(drop) });
    two.stand_in.creation().await;
    // As a death does it: nothing is tidied up.
    launching.abort();
    assert!(launching.await.unwrap_err().is_cancelled());
    two.stand_in.be_silent(false);
    let leases = state.join("docker/leases");
    let id = std::fs::read_dir(&leases).unwrap().next().unwrap().unwrap().file_name();
    let question = format!("GET /containers/agentkernel-{}/json", id.to_str().unwrap());
    let hidden = state.join("hidden.sock");
    std::fs::rename(&two.other.socket, &hidden).unwrap();
    let away = two.real.open(state).reclaim(&[]).await.unwrap();
    assert_eq!(away.objects, Vec::<String>::new(), "taken for gone while its engine is away");
    assert_eq!(std::fs::read_dir(&leases).unwrap().count(), 1);
    std::fs::rename(&hidden, &two.other.socket).unwrap();
    let asked_before = two.stand_in.asked().contains(&question);
    assert_eq!(two.real.open(state).reclaim(&[]).await.unwrap().objects.len(), 1);
    assert!(!asked_before && two.stand_in.asked().contains(&question), "{:?}", two.stand_in.asked());
    assert_eq!(std::fs::read_dir(&leases).unwrap().count(), 0);
}
