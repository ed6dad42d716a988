//! Names, uses, removal, pruning and the limit of bytes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use agentkernel_image::{ImageError, PruneRequest, RegistrySettings, StoreSettings};
use agentkernel_model::{ImageId, PullPolicy};

use crate::crafted::Tar;
use crate::scene::{Scene, layer, reference};

fn all() -> PruneRequest {
    PruneRequest { all: true, ..PruneRequest::default() }
}

#[test]
fn images_are_found_as_docker_finds_them() {
    let scene = Scene::new();
    let image = scene.image("python:3.12", &[layer("x", "1")]);
    for text in [
        "python:3.12",
        "docker.io/library/python:3.12",
        "library/python:3.12",
        image.id.as_str(),
        image.id.hex(),
        image.id.short(),
        &image.id.hex()[..6],
    ] {
        assert_eq!(scene.find(text).map(|found| found.id), Some(image.id.clone()), "{text}");
    }
    for text in ["python", "python:3.1", "ython:3.12", "host", &image.id.hex()[..5], "000000"] {
        assert_eq!(scene.find(text), None, "{text}");
    }
    assert_eq!(scene.find(&format!("python@sha256:{}", "0".repeat(64))), None);
}

#[test]
fn nothing_is_made_before_something_is_written() {
    let scene = Scene::new();
    assert_eq!(scene.find("python:3.12"), None);
    assert_eq!(scene.store.list().unwrap(), []);
    scene.store.usage().unwrap();
    scene.store.prune(&all()).unwrap();
    assert!(!scene.images().exists());
}

#[test]
fn a_tag_that_moves_leaves_an_image_that_is_pruned() {
    let scene = Scene::new();
    let old = scene.image("app:1", &[layer("x", "old")]);
    let new = scene.image("app:1", &[layer("x", "new")]);
    assert_eq!(scene.find("app:1").unwrap().id, new.id);
    assert!(scene.find(old.id.as_str()).is_some());
    let pruned = scene.store.prune(&PruneRequest::default()).unwrap();
    assert_eq!((pruned.images, pruned.layers), (vec![old.id.clone()], 1));
    assert_eq!(scene.find(old.id.as_str()), None);
    assert_eq!(scene.read(&new, "x").as_deref(), Some("new"));
}

#[test]
fn layers_are_shared_and_stay_while_one_image_has_them() {
    let scene = Scene::new();
    let base = layer("base", "base");
    let one = scene.image("one:1", &[base.clone(), layer("x", "one")]);
    let two = scene.image("two:1", &[base, layer("x", "two!")]);
    assert_eq!(scene.names_in("layers/root").len().max(scene.names_in("layers/single").len()), 3);
    let usage = scene.store.usage().unwrap();
    assert_eq!((usage.images, usage.layers, usage.layer_bytes, usage.shared_bytes), (2, 3, 11, 4));
    let list = scene.store.list().unwrap();
    let of = |id: &ImageId| list.iter().find(|image| image.id == *id).unwrap().unique_bytes;
    assert_eq!((of(&one.id), of(&two.id)), (3, 4));
    let removed = scene.store.remove(&reference("one:1"), &BTreeSet::new(), false).unwrap();
    assert_eq!((removed.image, removed.layers), (Some(one.id), 1));
    assert_eq!(scene.read(&two, "base").as_deref(), Some("base"));
}

#[test]
fn what_is_in_use_stays() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", "1")]);
    let held = scene.store.rootfs(&image.id).unwrap();
    let none = BTreeSet::new();
    assert!(matches!(scene.store.remove(&reference("app:1"), &none, true), Err(ImageError::InUse { .. })));
    assert!(scene.store.prune(&all()).unwrap().images.is_empty());
    assert!(held.layers[0].join("x").exists());
    // A copy of the descriptor, as a box's process inherits it, holds as well.
    let inherited = rustix::io::fcntl_dupfd_cloexec(&held.lease, 3).unwrap();
    drop(held);
    assert!(scene.store.prune(&all()).unwrap().images.is_empty());
    drop(inherited);
    let in_use = BTreeSet::from([image.id.clone()]);
    assert!(matches!(scene.store.remove(&reference("app:1"), &in_use, true), Err(ImageError::InUse { .. })));
    assert!(scene.store.prune(&PruneRequest { all: true, in_use }).unwrap().images.is_empty());
    assert_eq!(scene.store.prune(&all()).unwrap().images, std::slice::from_ref(&image.id));
    assert!(matches!(scene.store.rootfs(&image.id), Err(ImageError::Missing { .. })));
    assert_eq!(scene.names_in("blobs/sha256"), [""; 0]);
}

#[test]
fn a_name_goes_before_its_image() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", "1")]);
    assert_eq!(scene.image("app:2", &[layer("x", "1")]).id, image.id);
    let none = BTreeSet::new();
    let by_id = reference(image.id.as_str());
    assert!(matches!(scene.store.remove(&by_id, &none, false), Err(ImageError::SeveralNames { .. })));
    let removed = scene.store.remove(&reference("app:1"), &none, false).unwrap();
    assert_eq!((removed.names, removed.image), (vec!["docker.io/library/app:1".to_owned()], None));
    assert_eq!((scene.find("app:1"), scene.find("app:2").is_some()), (None, true));
    assert_eq!(scene.store.remove(&by_id, &none, false).unwrap().image, Some(image.id));
    assert!(matches!(scene.store.remove(&by_id, &none, false), Err(ImageError::Missing { .. })));
    assert_eq!(scene.names_in("names"), [""; 0]);
}

/// Bytes of `letter`, so that each image's layer is another.
fn heavy(letter: u8) -> Vec<u8> {
    Tar::default().file("heavy", &vec![letter; 1 << 20]).end()
}

#[test]
fn the_limit_of_bytes_is_kept_by_what_was_not_used_for_longest() {
    let protected: Arc<Mutex<BTreeSet<ImageId>>> = Arc::default();
    let asked = Arc::clone(&protected);
    let scene = Scene::with(StoreSettings {
        max_bytes: Some(3 << 20),
        in_use: Some(Arc::new(move || asked.lock().unwrap().clone())),
        ..StoreSettings::default()
    });
    let used = |image: &str, hours: u64| {
        let id = scene.find(image).unwrap().id;
        let time = SystemTime::now() - Duration::from_secs(3600 * hours);
        let path = scene.images().join(format!("records/{}.json", id.hex()));
        std::fs::File::open(path).unwrap().set_modified(time).unwrap();
        id
    };
    scene.image("a:1", &[heavy(b'a')]);
    let a = used("a:1", 3);
    scene.image("b:1", &[heavy(b'b')]);
    used("b:1", 2);
    // Blobs of layers that are unpacked go before images do.
    assert!(scene.find("a:1").is_some() && scene.find("b:1").is_some());
    assert!(scene.store.usage().unwrap().total_bytes <= 3 << 20);
    protected.lock().unwrap().insert(a);
    scene.image("c:1", &[heavy(b'c')]);
    let names: Vec<_> = ["a:1", "b:1", "c:1"].into_iter().filter(|name| scene.find(name).is_some()).collect();
    assert_eq!(names, ["a:1", "c:1"], "b was older than c, and a is needed");
    let c = scene.find("c:1").unwrap();
    let _held = scene.store.rootfs(&c.id).unwrap();
    let layers = [heavy(b'd'), heavy(b'e')];
    let archive = crate::crafted::docker_archive("d:1", &layers, "{}");
    let source = agentkernel_image::ImportSource::Stream(Box::new(std::io::Cursor::new(archive)));
    let error = scene.import(source, &[]).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, ImageError::Quota { .. }), "{said}");
    assert!(said.contains("library/a:1") && said.contains("library/c:1"), "{said}");
    assert_eq!(scene.find("d:1"), None);
    assert!(scene.store.usage().unwrap().total_bytes <= 3 << 20);
}

#[tokio::test]
async fn what_is_here_needs_no_network_and_never_means_never() {
    let scene = Scene::new();
    scene.image("app:1", &[layer("x", "1")]);
    let settings = RegistrySettings::default();
    for policy in [PullPolicy::Missing, PullPolicy::Never] {
        scene.store.prepare(&reference("app:1"), policy, &settings, &()).await.unwrap();
    }
    let never = scene.store.prepare(&reference("none:1"), PullPolicy::Never, &settings, &()).await;
    let error = never.unwrap_err();
    assert!(matches!(error, ImageError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("image pull"), "{error}");
}

#[tokio::test]
async fn a_layer_of_another_kind_of_ownership_is_unpacked_from_its_blob() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", "1")]);
    let kind = scene.names_in("layers").remove(0);
    let layers = scene.images().join("layers");
    std::fs::rename(layers.join(kind), layers.join("sub-1-65536")).unwrap();
    assert_eq!(scene.read(&image, "x").as_deref(), Some("1"));
    assert_eq!(scene.names_in("layers").len(), 2);
    // Both go with the image.
    scene.store.prune(&all()).unwrap();
    assert_eq!(scene.names_in("layers/sub-1-65536"), [""; 0]);
}

#[test]
fn a_layer_that_hides_all_below_is_the_lowest_shown() {
    let scene = Scene::new();
    let hiding = Tar::default().file(".wh..wh..opq", b"").file("new", b"new").end();
    let image = scene.image("app:1", &[layer("old", "old"), hiding, layer("top", "top")]);
    assert_eq!(scene.store.rootfs(&image.id).unwrap().layers.len(), 2);
    assert_eq!((scene.read(&image, "old"), scene.read(&image, "new")), (None, Some("new".to_owned())));
}

#[test]
fn equal_and_missing_layers_can_be_mounted() {
    let scene = Scene::new();
    let (one, other) = (layer("x", "1"), layer("y", "2"));
    let image = scene.image("app:1", &[one.clone(), other, one]);
    let layers = scene.store.rootfs(&image.id).unwrap().layers;
    assert_eq!(layers.len(), 2, "overlayfs refuses one folder twice");
    assert!(layers[1].join("x").exists(), "the upper of two equal layers counts");
    let empty = scene.image("empty:1", &[]);
    assert_eq!(scene.store.rootfs(&empty.id).unwrap().layers.len(), 1);
}

#[test]
fn damaged_and_newer_records_are_told_apart() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", "1")]);
    let path = scene.images().join(format!("records/{}.json", image.id.hex()));
    std::fs::write(&path, r#"{"version":99,"layers":"elsewhere"}"#).unwrap();
    assert!(matches!(scene.store.find(&reference("app:1")), Err(ImageError::NewerVersion { found: 99, .. })));
    std::fs::write(&path, "{").unwrap();
    assert!(matches!(scene.store.find(&reference("app:1")), Err(ImageError::Damaged { .. })));
    // Nothing that it may name is taken for orphaned.
    assert!(scene.store.prune(&PruneRequest::default()).is_err());
    assert_eq!(scene.names_in("blobs/sha256").len(), 3);
}

#[test]
fn finding_an_image_is_fast() {
    let scene = Scene::new();
    let layers: Vec<_> = (0..8).map(|number| layer("x", &number.to_string())).collect();
    scene.image("app:1", &layers);
    let name = reference("app:1");
    let once = || {
        let begun = Instant::now();
        let id = scene.store.find(&name).unwrap().unwrap().id;
        drop(scene.store.rootfs(&id).unwrap());
        begun.elapsed()
    };
    let mut times: Vec<_> = (0..200).map(|_| once()).collect();
    times.sort();
    println!("find and rootfs of 8 layers: median {:?}", times[100]);
    // Debug builds and busy machines; what is meant is that nothing is walked.
    assert!(times[100] < Duration::from_millis(5), "{:?}", times[100]);
}
