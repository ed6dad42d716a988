//! Other people's containers, look-alikes, and owners that are killed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentkernel_backend::{Backend, BoxRecord};
use agentkernel_backend_docker::EngineKind;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};

use crate::bed::{Bed, image, shell, spec};

async fn record(backend: &dyn Backend, folder: &std::path::Path, name: &str, id: &str) -> BoxRecord {
    use std::os::unix::fs::DirBuilderExt;
    let dir = folder.join(name);
    std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
    BoxRecord { name: name.parse().unwrap(), id: id.to_owned(), spec: spec(backend).await, dir }
}

fn id(tail: &str) -> String {
    format!("{:08x}{tail:0>8}", std::process::id())
}

/// A container of somebody else's; started, so that it could be stopped by mistake.
async fn foreign(bed: &Bed, backend: &dyn Backend, name: &str, labels: &[(&str, String)]) -> String {
    let (_, ready) = image(backend, "busybox").await;
    let body = ContainerCreateBody {
        image: Some(ready.id.to_string()),
        cmd: Some(["sleep", "1000"].map(str::to_owned).into()),
        labels: Some(
            labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<HashMap<_, _>>(),
        ),
        host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let made = bed.engine().create_container(Some(options), body).await.unwrap();
    bed.engine().start_container(&made.id, None).await.unwrap();
    made.id
}

async fn is_running(bed: &Bed, container: &str) -> bool {
    let found = bed.engine().inspect_container(container, None).await.unwrap();
    found.state.unwrap().running.unwrap()
}

async fn remove_foreign(bed: &Bed, container: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    bed.engine().remove_container(container, Some(options)).await.unwrap();
}

#[tokio::test]
async fn look_alikes_are_never_touched() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let (own, other) = (id("a1"), id("a2"));
        // A longer name, our label with another's owner, our id with no owner.
        let others = [
            foreign(&bed, &*backend, &format!("agentkernel-{own}-2"), &[]).await,
            foreign(
                &bed,
                &*backend,
                &format!("agentkernel-{other}"),
                &[("agentkernel.id", own.clone()), ("agentkernel.owner", "somebody".into())],
            )
            .await,
            foreign(&bed, &*backend, &format!("x-agentkernel-{own}"), &[("agentkernel.id", own.clone())])
                .await,
        ];
        let record = record(&*backend, state.path(), "foo", &own).await;
        assert!(
            backend.running(&record).await.unwrap().is_none(),
            "{}: a look-alike is taken for it",
            bed.kind.name()
        );
        backend.create(&record).await.unwrap();
        assert!(backend.running(&record).await.unwrap().is_none(), "{}", bed.kind.name());
        backend.start(&record).await.unwrap();
        backend.stop(&record, Duration::ZERO).await.unwrap();
        backend.remove(&record).await.unwrap();
        backend.remove(&record).await.unwrap();
        backend.reclaim(&[]).await.unwrap();
        for container in &others {
            assert!(
                is_running(&bed, container).await,
                "{}: a foreign container was stopped",
                bed.kind.name()
            );
            remove_foreign(&bed, container).await;
        }
    }
}

#[tokio::test]
async fn foo_is_not_foo_2() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let foo = record(&*backend, state.path(), "foo", &id("b1")).await;
        let foo_2 = record(&*backend, state.path(), "foo-2", &id("b2")).await;
        for record in [&foo, &foo_2] {
            backend.create(record).await.unwrap();
        }
        backend.start(&foo_2).await.unwrap();
        assert!(backend.running(&foo).await.unwrap().is_none(), "{}", bed.kind.name());
        assert!(backend.running(&foo_2).await.unwrap().is_some());
        backend.remove(&foo).await.unwrap();
        let guest = backend.connect(&foo_2).await.unwrap();
        assert_eq!(shell(&*guest, "echo alive").await.1, "alive\n");
        backend.remove(&foo_2).await.unwrap();
    }
}

#[tokio::test]
async fn a_sandbox_that_somebody_restarts_stays_usable_and_secured() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let backend = bed.open(state.path());
        let record = record(&*backend, state.path(), "again", &id("c1")).await;
        backend.create(&record).await.unwrap();
        backend.start(&record).await.unwrap();
        let guest = backend.connect(&record).await.unwrap();
        shell(&*guest, "echo kept > /root/f").await;
        let name = format!("agentkernel-{}", record.id);
        bed.engine().restart_container(&name, None).await.unwrap();
        let other = bed.open(state.path());
        assert!(other.running(&record).await.unwrap().is_some(), "{}", bed.kind.name());
        let guest = other.connect(&record).await.unwrap();
        let (_, text) = shell(&*guest, "cat /root/f; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status").await;
        assert_eq!(text, "kept\nNoNewPrivs:\t1\nSeccomp:\t2\n", "{}", bed.kind.name());
        other.remove(&record).await.unwrap();
        assert!(!bed.has_container(&record.id).await);
    }
}

/// This test's program as an owner that is going to be killed: prints a line once its box runs.
#[tokio::test]
async fn owner() {
    let Ok(folder) = std::env::var("AGENTKERNEL_TEST_OWNER") else { return };
    let (kind, variable) = match std::env::var("AGENTKERNEL_TEST_OWNER_KIND").as_deref() {
        Ok("podman") => (EngineKind::Podman, "AGENTKERNEL_TEST_PODMAN"),
        _ => (EngineKind::Docker, "AGENTKERNEL_TEST_DOCKER"),
    };
    let bed = Bed::find(kind, variable).unwrap();
    let backend = bed.open(&PathBuf::from(&folder));
    let made = backend.launch(&spec(&*backend).await).await.unwrap();
    let guest = made.guest();
    std::fs::write(PathBuf::from(&folder).join("started"), "").unwrap();
    shell(&*guest, "sleep 1000").await;
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing_that_runs() {
    for bed in Bed::all() {
        let state = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "coexistence::owner", "--nocapture"])
            .env("AGENTKERNEL_TEST_OWNER", state.path())
            .env("AGENTKERNEL_TEST_OWNER_KIND", bed.kind.name())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the box runs", || async { state.path().join("started").exists() }).await;
        let leases = state.path().join(bed.kind.name()).join("leases");
        let id = std::fs::read_dir(leases).unwrap().next().unwrap().unwrap().file_name();
        let id = id.to_str().unwrap();
        assert!(bed.has_container(id).await, "{}", bed.kind.name());
        child.kill().unwrap();
        child.wait().unwrap();
        // By itself: nobody has called anything of ours yet.
        until("the container is gone", || async { !bed.has_container(id).await }).await;
        let backend = bed.open(state.path());
        assert_eq!(backend.reclaim(&[]).await.unwrap().objects.len(), 1);
        assert_eq!(backend.reclaim(&[]).await.unwrap().objects.len(), 0);
        let boxes = state.path().join(bed.kind.name()).join("boxes");
        assert_eq!(std::fs::read_dir(boxes).unwrap().count(), 0);
    }
}

async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "never: {what}");
        // sleep: another process's state is looked at again and again.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
