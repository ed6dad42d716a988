//! What a backend can't do it refuses by name, and changes nothing.

use std::fmt::Debug;

use agentkernel_backend::BackendError;
use agentkernel_model::{Access, Cpus, Feature, ImageRef, Mib, Mount, NetworkAccess, SandboxSpec, TtySize};

use super::ask::{content, path, request};
use super::scene::Scene;

/// Asks for `feature` and expects its name in the refusal.
pub(super) async fn check(scene: &Scene, feature: Feature) {
    match feature {
        Feature::Terminal | Feature::DetachedCommands | Feature::OtherUsers => commands(scene, feature).await,
        Feature::Files => files(scene).await,
        Feature::PortForwarding => {
            let guest = scene.guest().await;
            names(scene, feature, guest.connect_port(80).await.map(drop));
        }
        Feature::PersistentSandboxes => {
            let record = scene.record();
            names(scene, feature, scene.backend().create(&record).await);
        }
        Feature::Snapshots => standstill(scene).await,
        Feature::PersistentDiskLimit => {
            let record = scene.record_with(|spec| demand(spec, feature));
            names(scene, feature, scene.backend().create(&record).await);
        }
        _ => {
            let mut spec = scene.spec();
            demand(&mut spec, feature);
            names(scene, feature, scene.backend().launch(&spec).await.map(drop));
            if feature.is_limit() {
                waived(scene, feature, spec).await;
            }
        }
    }
}

/// A limit that the user lets go is not enforced, and said so.
async fn waived(scene: &Scene, feature: Feature, mut spec: SandboxSpec) {
    spec.allow_unlimited = true;
    let made = scene.backend().launch(&spec).await.expect("a box without a limit that may be let go");
    let stated = made.isolation().not_enforced.iter().any(|what| what.contains(feature.as_str()));
    assert!(stated, "{feature} is not named in {:?}", made.isolation().not_enforced);
    made.destroy().await.expect("destroyed");
}

fn demand(spec: &mut SandboxSpec, feature: Feature) {
    let limits = &mut spec.resources;
    match feature {
        Feature::HostImage => spec.image = ImageRef::host(),
        Feature::OciImages => spec.image = "busybox:latest".parse().expect("an image"),
        Feature::Network => spec.network = NetworkAccess::On,
        Feature::PublishedPorts => spec.ports = vec!["0:80".parse().expect("a port")],
        Feature::Mounts => {
            spec.mounts =
                vec![Mount { source: "/tmp".into(), target: path("/mnt/x"), access: Access::ReadOnly }];
        }
        Feature::ReadOnlyRoot => spec.read_only_root = true,
        Feature::MemoryLimit => limits.memory = Some(Mib(128)),
        Feature::CpuLimit => limits.cpus = Cpus::from_millis(500),
        Feature::PidsLimit => limits.pids = Some(64),
        Feature::DiskLimit | Feature::PersistentDiskLimit => limits.disk = Some(Mib(16)),
        Feature::OpenFilesLimit => limits.open_files = Some(256),
        Feature::OtherUsers => spec.user = Some("1000".parse().expect("a user")),
        Feature::Terminal
        | Feature::DetachedCommands
        | Feature::Files
        | Feature::PortForwarding
        | Feature::PersistentSandboxes
        | Feature::Snapshots => unreachable!("{feature} is not asked for by a specification"),
    }
}

/// A backend that can't has no way to ask it, or refuses. Why is what the engine tells.
async fn standstill(scene: &Scene) {
    let why = scene.backend().capabilities().why_missing(Feature::Snapshots).expect("a missing feature");
    assert!(!why.is_empty(), "no word on why and what to do");
    let Some(snapshots) = scene.backend().snapshots() else { return };
    let record = scene.record();
    let folder = scene.make_private_folder("snapshot");
    names(scene, Feature::Snapshots, snapshots.pause(&record).await);
    names(scene, Feature::Snapshots, snapshots.resume(&record).await);
    names(scene, Feature::Snapshots, snapshots.take(&record, &folder).await);
    names(scene, Feature::Snapshots, snapshots.restore(&record, &folder).await);
}

async fn commands(scene: &Scene, feature: Feature) {
    let guest = scene.guest().await;
    let mut wish = request(&["true"]);
    match feature {
        Feature::Terminal => wish.tty = Some(TtySize { rows: 24, columns: 80 }),
        Feature::DetachedCommands => wish.detached_log_limit = Some(1 << 20),
        _ => wish.user = Some("1000".parse().expect("a user")),
    }
    names(scene, feature, guest.exec(&wish).await.map(drop));
}

async fn files(scene: &Scene) {
    let guest = scene.guest().await;
    let at = path("/tmp/x");
    names(scene, Feature::Files, guest.read_file(&at).await.map(drop));
    names(scene, Feature::Files, guest.write_file(&at, None, content("x")).await);
    names(scene, Feature::Files, guest.stat(&at).await);
    names(scene, Feature::Files, guest.list(&at).await);
    names(scene, Feature::Files, guest.remove_file(&at, true).await);
    names(scene, Feature::Files, guest.make_dir(&at, None).await);
    names(scene, Feature::Files, guest.tar_out(&at).await.map(drop));
    names(scene, Feature::Files, guest.tar_in(&at, content("")).await);
}

fn names<T: Debug>(scene: &Scene, feature: Feature, result: Result<T, BackendError>) {
    match result {
        Err(BackendError::Unsupported { backend, what, fix }) => {
            assert_eq!(backend, scene.backend().name().as_str());
            assert!(what.contains(feature.as_str()), "{what:?} doesn't name {feature}");
            assert!(!fix.is_empty(), "no word on why and what to do");
        }
        other => panic!("{feature} is missing and must be refused as unsupported, but: {other:?}"),
    }
}
