//! Host folders inside.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use agentkernel_backend::BackendError;
use agentkernel_model::{Access, Mount, Outcome};

use super::super::ask::{path, run, script, shell};
use super::super::scene::Scene;

fn mount(source: PathBuf, target: &str, access: Access) -> Mount {
    Mount { source, target: path(target), access }
}

pub(in super::super) async fn read_write(scene: &Scene) {
    let folder = scene.make_host_folder("shared");
    std::fs::write(folder.join("from-host"), "host").expect("written");
    let guest =
        scene.guest_with(|spec| spec.mounts = vec![mount(folder.clone(), "/data", Access::ReadWrite)]).await;
    let text =
        "cat /data/from-host; printf box > /data/from-box; mkdir /data/sub; printf more >> /data/from-host";
    assert_eq!(shell(&*guest, text).await, "host");
    assert_eq!(std::fs::read(folder.join("from-host")).expect("there"), b"hostmore");
    assert_eq!(std::fs::read(folder.join("from-box")).expect("there"), b"box");
    let caller = std::fs::metadata(scene.host_folder()).expect("there");
    for name in ["from-box", "sub", "from-host"] {
        let found = std::fs::metadata(folder.join(name)).expect("there");
        assert_eq!((found.uid(), found.gid()), (caller.uid(), caller.gid()), "{name} is the caller's");
    }
    std::fs::write(folder.join("later"), "live").expect("written");
    assert_eq!(shell(&*guest, "cat /data/later").await, "live", "the folder is shown live");
}

pub(in super::super) async fn owner_is_root_inside(scene: &Scene) {
    let folder = scene.make_host_folder("shared");
    std::fs::write(folder.join("f"), "x").expect("written");
    let guest = scene.guest_with(|spec| spec.mounts = vec![mount(folder, "/data", Access::ReadWrite)]).await;
    assert_eq!(shell(&*guest, "stat -c %u:%g /data /data/f").await, "0:0\n0:0\n");
}

pub(in super::super) async fn read_only(scene: &Scene) {
    let folder = scene.make_host_folder("shared");
    std::fs::create_dir(folder.join("sub")).expect("made");
    std::fs::write(folder.join("sub/f"), "host").expect("written");
    let guest =
        scene.guest_with(|spec| spec.mounts = vec![mount(folder.clone(), "/data", Access::ReadOnly)]).await;
    assert_eq!(shell(&*guest, "cat /data/sub/f").await, "host");
    for text in [
        "echo x > /data/new",
        "echo x >> /data/sub/f",
        "rm /data/sub/f",
        "mkdir /data/new",
        "chmod 777 /data/sub/f",
        "ln /data/sub/f /data/hard",
        "mv /data/sub /data/moved",
        "touch /data/sub/f",
    ] {
        assert_ne!(run(&*guest, &script(text)).await.outcome, Outcome::Exited(0), "{text}");
    }
    assert_eq!(std::fs::read(folder.join("sub/f")).expect("there"), b"host");
    assert_eq!(std::fs::read_dir(&folder).expect("there").count(), 1);
}

pub(in super::super) async fn of_one_file(scene: &Scene) {
    let folder = scene.make_host_folder("shared");
    std::fs::write(folder.join("f"), "one").expect("written");
    let guest = scene
        .guest_with(|spec| spec.mounts = vec![mount(folder.join("f"), "/opt/x/file", Access::ReadOnly)])
        .await;
    assert_eq!(shell(&*guest, "cat /opt/x/file").await, "one");
}

pub(in super::super) async fn one_in_another(scene: &Scene) {
    let outer = scene.make_host_folder("outer");
    let inner = scene.make_host_folder("inner");
    std::fs::create_dir(outer.join("sub")).expect("made");
    std::fs::write(inner.join("f"), "inner").expect("written");
    let guest = scene
        .guest_with(|spec| {
            spec.mounts = vec![
                mount(outer.clone(), "/data", Access::ReadOnly),
                mount(inner, "/data/sub", Access::ReadWrite),
            ];
        })
        .await;
    assert_eq!(shell(&*guest, "cat /data/sub/f; echo x > /data/sub/g").await, "inner");
    assert_ne!(run(&*guest, &script("echo x > /data/g")).await.outcome, Outcome::Exited(0));
    assert_eq!(
        std::fs::read_dir(outer.join("sub")).expect("there").count(),
        0,
        "the outer folder is untouched"
    );
}

pub(in super::super) async fn missing_source(scene: &Scene) {
    let mut spec = scene.spec();
    let source = scene.host_folder().join("nope");
    spec.mounts = vec![mount(source.clone(), "/data", Access::ReadWrite)];
    match scene.backend().launch(&spec).await.map(drop) {
        Err(error @ (BackendError::NotFound { .. } | BackendError::Invalid { .. })) => {
            assert!(error.to_string().contains("nope"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!source.exists(), "a missing source is not made");
}

pub(in super::super) async fn survive_a_restart(scene: &Scene) {
    let folder = scene.make_host_folder("shared");
    let record =
        scene.record_with(|spec| spec.mounts = vec![mount(folder.clone(), "/data", Access::ReadWrite)]);
    let backend = scene.backend();
    backend.create(&record).await.expect("created");
    for round in ["1", "2"] {
        backend.start(&record).await.expect("started");
        let guest = backend.connect(&record).await.expect("connected");
        shell(&*guest, &format!("printf {round} >> /data/rounds")).await;
        backend.stop(&record, super::super::scene::GRACE).await.expect("stopped");
    }
    assert_eq!(std::fs::read(folder.join("rounds")).expect("there"), b"12");
    backend.remove(&record).await.expect("removed");
    assert_eq!(std::fs::read(folder.join("rounds")).expect("the host's files stay"), b"12");
}
