//! A folder of files on a web server.

use std::time::Duration;

use agentkernel_image::{Begun, Blobs, Digest, ImageError, Mirror, MirrorError, Patience, RegistrySettings};

use crate::fake::{Fake, Reply};

const MAX: u64 = 1 << 20;

fn settings() -> RegistrySettings {
    let first_pause = Duration::from_millis(1);
    RegistrySettings {
        patience: Patience { first_pause, ..Patience::default() },
        ..RegistrySettings::default()
    }
}

/// A server that has `bytes` as `files/vmlinux`, a client of it, and where that keeps things.
async fn scene(bytes: &[u8]) -> (Fake, Mirror, Blobs, tempfile::TempDir) {
    let fake = Fake::start().await;
    fake.put("/files/vmlinux", "application/octet-stream", bytes);
    let mirror = Mirror::open(&format!("http://{}/files", fake.name), &settings()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    (fake, mirror, Blobs::new(folder.path()), folder)
}

fn content() -> Vec<u8> {
    (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect()
}

#[tokio::test]
async fn a_file_comes_once_and_is_what_its_digest_says() {
    let bytes = content();
    let (fake, mirror, blobs, _folder) = scene(&bytes).await;
    let digest = Digest::of(&bytes);
    mirror.fetch("vmlinux", digest, MAX, &blobs, &()).await.unwrap();
    assert_eq!(blobs.read(&digest, MAX).unwrap().unwrap(), bytes);
    assert_eq!(fake.seen("vmlinux").len(), 1, "one request brings size and content");
    assert_eq!(mirror.read("vmlinux", MAX, &()).await.unwrap(), bytes);
    assert!(mirror.read("vmlinux", 10, &()).await.is_err());
}

#[tokio::test]
async fn what_broke_off_is_continued_also_by_another_process() {
    let bytes = content();
    let (fake, mirror, blobs, _folder) = scene(&bytes).await;
    let digest = Digest::of(&bytes);
    {
        let Begun::Partial(mut partial) = blobs.begin(&digest, bytes.len() as u64).unwrap() else {
            panic!("it is not here yet")
        };
        partial.write(&bytes[..1000]).unwrap();
    }
    let mut broken = false;
    let rest = bytes.clone();
    fake.rule(move |request| {
        let first = request.from()? == 1000 && !broken;
        broken = true;
        first.then(|| {
            let range = format!("bytes 1000-{}/{}", rest.len() - 1, rest.len());
            Reply::broken(rest.len() - 1000, &rest[1000..5000]).status(206).header("Content-Range", range)
        })
    });
    mirror.fetch("vmlinux", digest, MAX, &blobs, &()).await.unwrap();
    assert_eq!(blobs.read(&digest, MAX).unwrap().unwrap(), bytes);
    let from: Vec<_> = fake.seen("vmlinux").iter().filter_map(|request| request.from()).collect();
    assert_eq!(from, [1000, 5000]);
}

#[tokio::test]
async fn other_content_is_refused_and_nothing_of_it_kept() {
    let bytes = content();
    let (_fake, mirror, blobs, folder) = scene(&bytes).await;
    let error = mirror.fetch("vmlinux", Digest::of(b"other"), MAX, &blobs, &()).await.unwrap_err();
    assert!(matches!(&error, MirrorError::Keep(ImageError::WrongDigest { .. })), "{error}");
    assert_eq!(blobs.partial_bytes().unwrap(), 0, "{}", folder.path().display());
}

#[tokio::test]
async fn a_damaged_beginning_is_fetched_anew() {
    let bytes = content();
    let (_fake, mirror, blobs, _folder) = scene(&bytes).await;
    let digest = Digest::of(&bytes);
    if let Begun::Partial(mut partial) = blobs.begin(&digest, bytes.len() as u64).unwrap() {
        partial.write(&[0xff; 1000]).unwrap();
    }
    mirror.fetch("vmlinux", digest, MAX, &blobs, &()).await.unwrap();
    assert_eq!(blobs.read(&digest, MAX).unwrap().unwrap(), bytes);
}

#[tokio::test]
async fn servers_that_have_it_not_or_say_nothing_of_its_length_are_named() {
    let (fake, mirror, blobs, _folder) = scene(b"x").await;
    let of = async |file: &str, max: u64| {
        mirror.fetch(file, Digest::of(b"x"), max, &blobs, &()).await.unwrap_err().to_string()
    };
    let absent = of("nothing", MAX).await;
    assert!(absent.starts_with("nothing can't be fetched from mirror 127.0.0.1:"), "{absent}");
    assert!(absent.contains("it doesn't have it"), "{absent}");
    assert!(of("vmlinux", 0).await.contains("at most 0 are taken"));
    fake.rule(|request| request.path.ends_with("endless").then(Reply::endless));
    assert!(of("endless", MAX).await.contains("how long"));
}

#[test]
fn what_is_no_address_is_refused() {
    for bad in ["", "ftp://a/", "mirror/folder", "https://u:p@a/", "file:///tmp"] {
        let error = Mirror::open(bad, &RegistrySettings::default()).err().unwrap();
        assert!(matches!(error, MirrorError::Address { .. }), "{bad}: {error}");
    }
    assert!(Mirror::open("https://mirror.example/a/b", &RegistrySettings::default()).is_ok());
}
