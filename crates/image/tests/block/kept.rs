//! How the store keeps block images: made once, counted, and gone with their image.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;
use std::sync::Barrier;

use agentkernel_image::{ImageError, ImportSource, PruneRequest, StoreSettings};

use crate::crafted::{Tar, oci_members, tar_members};
use crate::erofs;
use crate::scene::{Scene, layer, reference};

#[test]
fn it_is_made_once_and_found_again() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", "1"), layer("y", "2")]);
    assert_eq!(scene.store.usage().unwrap().block_bytes, 0);
    let first = scene.store.block_image(&image.id).unwrap();
    let metadata = first.path.metadata().unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o777), (first.bytes, 0o444));
    let bytes = std::fs::read(&first.path).unwrap();
    assert_eq!(erofs::read(&bytes).keys().collect::<Vec<_>>(), [&b""[..], b"x", b"y"]);
    let again = scene.store.block_image(&image.id).unwrap();
    assert_eq!((again.path.metadata().unwrap().ino(), again.bytes), (metadata.ino(), first.bytes));
    assert_eq!(scene.store.usage().unwrap().block_bytes, first.bytes);

    let other = Scene::new();
    other.image("another/name:2", &[layer("x", "1"), layer("y", "2")]);
    let elsewhere = other.store.block_image(&image.id).unwrap();
    assert!(std::fs::read(&elsewhere.path).unwrap() == bytes, "the same image, the same bytes");
    let missing = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".parse().unwrap();
    assert!(matches!(scene.store.block_image(&missing), Err(ImageError::Missing { .. })));
}

#[test]
fn many_at_once_get_the_same_file() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", &"1".repeat(1 << 20))]);
    let barrier = Barrier::new(8);
    let inodes: BTreeSet<u64> = std::thread::scope(|scope| {
        let ask = || {
            barrier.wait();
            scene.store.block_image(&image.id).unwrap().path.metadata().unwrap().ino()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(inodes.len(), 1);
    assert_eq!(scene.names_in("block").len(), 1);
}

#[test]
fn it_goes_with_its_image_and_stays_while_that_is_held() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", "1")]);
    let held = scene.store.block_image(&image.id).unwrap();
    let other = scene.image("app:2", &[layer("x", "2")]);
    scene.store.block_image(&other.id).unwrap();
    let none = BTreeSet::new();
    assert!(matches!(scene.store.remove(&reference("app:1"), &none, true), Err(ImageError::InUse { .. })));
    let all = PruneRequest { all: true, ..PruneRequest::default() };
    assert_eq!(scene.store.prune(&all).unwrap().images, [other.id]);
    assert!(held.path.exists());
    assert_eq!(scene.names_in("block").len(), 1);
    drop(held);
    scene.store.remove(&reference("app:1"), &none, false).unwrap();
    assert_eq!(scene.names_in("block"), [""; 0]);
    assert_eq!(scene.store.usage().unwrap().total_bytes, 0);
}

#[test]
fn what_was_never_whole_is_swept() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", "1")]);
    drop(scene.store.block_image(&image.id).unwrap());
    let half = scene.images().join("block/.new-0123");
    std::fs::write(&half, "half").unwrap();
    scene.store.prune(&PruneRequest::default()).unwrap();
    assert!(!half.exists());
    assert_eq!(scene.names_in("block").len(), 1);
}

#[test]
fn it_counts_within_the_limit_of_bytes() {
    let random: String =
        (0..400_000u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8)).collect();
    let scene = Scene::with(StoreSettings { max_bytes: Some(1_000_000), ..StoreSettings::default() });
    // As it came and unpacked: 800 KB; with a block device 1.2 MB, without what it came as 800 KB.
    let image = scene.image("app:1", &[Tar::default().file("x", random.as_bytes()).end()]);
    let block = scene.store.block_image(&image.id).unwrap();
    let usage = scene.store.usage().unwrap();
    assert!(usage.total_bytes <= 1_000_000 && usage.block_bytes == block.bytes, "{usage:?}");
    assert!(erofs::read(&std::fs::read(&block.path).unwrap())[&b"x"[..]].content == random.as_bytes());
    drop(block);

    // Small as it came, 400 KB unpacked, and no room for as much again.
    let scene = Scene::with(StoreSettings { max_bytes: Some(700_000), ..StoreSettings::default() });
    let stream = Tar::default().file("x", &[b'a'; 400_000]).end();
    let archive = tar_members(&oci_members("app:1", &[stream], "{}"));
    scene.import(ImportSource::Stream(Box::new(Cursor::new(archive))), &[]).unwrap();
    let image = scene.find("app:1").unwrap();
    let error = scene.store.block_image(&image.id).unwrap_err();
    assert!(matches!(error, ImageError::Quota { .. }), "{error}");
    assert_eq!(scene.names_in("block"), [""; 0]);
    assert!(scene.find("app:1").is_some());
    assert!(
        scene.store.blobs().size(&image.layers[0].blob).unwrap().is_some(),
        "with more room it can be made"
    );
}

#[test]
fn an_image_whose_archives_went_says_what_to_do() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", "1")]);
    scene.store.blobs().remove(&image.layers[0].blob).unwrap();
    let error = scene.store.block_image(&image.id).unwrap_err().to_string();
    assert!(error.contains("images.max_size") && error.contains("pull"), "{error}");
}

#[test]
fn a_blob_that_changed_since_gives_no_image() {
    let scene = Scene::new();
    let image = scene.image("app:1", &[layer("x", "good")]);
    let blob = scene.store.blobs().path(&image.layers[0].blob);
    std::fs::write(&blob, layer("x", "evil")).unwrap();
    let error = scene.store.block_image(&image.id).unwrap_err().to_string();
    assert!(error.contains("instead of"), "{error}");
    assert_eq!(scene.names_in("block"), [""; 0]);
}
