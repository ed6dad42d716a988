//! What the folder of blobs promises.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::{Digest, ImageError};

const CONTENT: &[u8] = b"what an image is made of";

fn blobs() -> (tempfile::TempDir, Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(&folder.path().join("images"));
    (folder, blobs)
}

fn begin(blobs: &Blobs, size: usize) -> PartialBlob {
    match blobs.begin(&Digest::of(CONTENT), size as u64).unwrap() {
        Begun::Partial(partial) => *partial,
        Begun::Present => panic!("it isn't here yet"),
    }
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn nothing_is_made_until_something_is_written_and_then_for_the_owner_alone() {
    let (folder, blobs) = blobs();
    let digest = Digest::of(CONTENT);
    assert_eq!((blobs.size(&digest).unwrap(), blobs.list().unwrap()), (None, vec![]));
    assert!(blobs.open(&digest).unwrap().is_none());
    assert!(names(folder.path()).is_empty());
    assert_eq!(blobs.put(CONTENT).unwrap(), digest);
    for path in ["images", "images/blobs", "images/blobs/sha256", "images/partial"] {
        let mode = folder.path().join(path).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{path}");
    }
    assert_eq!(blobs.list().unwrap(), [(digest, CONTENT.len() as u64)]);
    assert!(names(&folder.path().join("images/partial")).is_empty());
}

#[test]
fn a_writer_goes_on_where_the_last_one_stopped() {
    let (_folder, blobs) = blobs();
    let mut first = begin(&blobs, CONTENT.len());
    first.write(&CONTENT[..9]).unwrap();
    drop(first);
    let mut second = begin(&blobs, CONTENT.len());
    assert_eq!(second.done(), 9);
    assert!(second.verify().is_err());
    second.write(&CONTENT[9..]).unwrap();
    second.commit().unwrap();
    let digest = Digest::of(CONTENT);
    assert_eq!(blobs.read(&digest, 100).unwrap().unwrap(), CONTENT);
    assert!(matches!(blobs.begin(&digest, CONTENT.len() as u64).unwrap(), Begun::Present));
    assert_eq!(blobs.partial_bytes().unwrap(), 0);
}

#[test]
fn what_is_wrong_is_never_kept() {
    let (_folder, blobs) = blobs();
    let digest = Digest::of(CONTENT);
    let mut partial = begin(&blobs, CONTENT.len());
    partial.write(&[b'x'; CONTENT.len()]).unwrap();
    assert!(matches!(partial.commit().unwrap_err(), ImageError::WrongDigest { .. }));
    let mut short = begin(&blobs, CONTENT.len());
    assert_eq!(short.done(), 0);
    short.write(&CONTENT[..5]).unwrap();
    assert!(matches!(short.write(CONTENT).unwrap_err(), ImageError::WrongSize { .. }));
    assert_eq!(short.done(), 5);
    assert!(matches!(short.commit().unwrap_err(), ImageError::WrongDigest { .. }));
    assert_eq!((blobs.size(&digest).unwrap(), blobs.partial_bytes().unwrap()), (None, 0));
}

#[test]
fn more_than_there_can_be_is_dropped_and_a_lying_size_is_refused() {
    let (_folder, blobs) = blobs();
    begin(&blobs, 100).write(&[0; 90]).unwrap();
    assert_eq!(begin(&blobs, CONTENT.len()).done(), 0);
    blobs.put(CONTENT).unwrap();
    assert!(matches!(blobs.begin(&Digest::of(CONTENT), 5), Err(ImageError::WrongSize { .. })));
}

#[test]
fn a_damaged_blob_counts_as_not_here() {
    let (_folder, blobs) = blobs();
    let digest = blobs.put(CONTENT).unwrap();
    assert!(matches!(blobs.read(&digest, 3), Err(ImageError::TooLarge { .. })));
    fs::write(blobs.path(&digest), b"other").unwrap();
    assert_eq!(blobs.read(&digest, 100).unwrap(), None);
    assert_eq!(blobs.size(&digest).unwrap(), None);
}

#[test]
fn a_second_writer_waits_and_uses_what_the_first_leaves() {
    let (_folder, blobs) = blobs();
    let mut first = begin(&blobs, CONTENT.len());
    let (sender, receiver) = mpsc::channel();
    let waiting = blobs.clone();
    let second = std::thread::spawn(move || {
        sender.send("begins").unwrap();
        let begun = waiting.begin(&Digest::of(CONTENT), CONTENT.len() as u64).unwrap();
        sender.send(if matches!(begun, Begun::Present) { "present" } else { "partial" }).unwrap();
    });
    assert_eq!(receiver.recv().unwrap(), "begins");
    assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "it must wait for the lock");
    first.write(CONTENT).unwrap();
    first.commit().unwrap();
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)).unwrap(), "present");
    second.join().unwrap();
    assert!(names(&blobs.partial_dir()).is_empty());
}

#[test]
fn pruning_leaves_what_is_being_written_or_is_young() {
    let (_folder, blobs) = blobs();
    let mut writing = begin(&blobs, CONTENT.len());
    writing.write(&CONTENT[..4]).unwrap();
    fs::File::create(blobs.partial_dir().join(".new-1-1")).unwrap().write_all(b"left").unwrap();
    assert_eq!(blobs.prune_partials(Duration::from_secs(3600)).unwrap(), PrunedPartials::default());
    assert_eq!(blobs.prune_partials(Duration::ZERO).unwrap(), PrunedPartials { files: 1, bytes: 4 });
    drop(writing);
    assert_eq!(blobs.prune_partials(Duration::ZERO).unwrap(), PrunedPartials { files: 1, bytes: 4 });
    assert!(names(&blobs.partial_dir()).is_empty());
}

#[test]
fn what_is_taken_in_is_bounded_and_leaves_nothing_when_it_fails() {
    let (_folder, blobs) = blobs();
    let (digest, size) = blobs.take_in(CONTENT, 100, "an archive").unwrap();
    assert_eq!((digest, size), (Digest::of(CONTENT), CONTENT.len() as u64));
    assert!(matches!(blobs.take_in(CONTENT, 5, "an archive"), Err(ImageError::TooLarge { .. })));
    assert!(names(&blobs.partial_dir()).is_empty());
    assert_eq!(blobs.remove(&digest).unwrap(), CONTENT.len() as u64);
    assert_eq!(blobs.remove(&digest).unwrap(), 0);
}

#[test]
fn links_in_the_folders_are_not_followed() {
    let (folder, blobs) = blobs();
    blobs.make_dirs().unwrap();
    let outside = folder.path().join("outside");
    fs::write(&outside, CONTENT).unwrap();
    let digest = Digest::of(CONTENT);
    std::os::unix::fs::symlink(&outside, blobs.partial_path(&digest)).unwrap();
    assert!(blobs.begin(&digest, CONTENT.len() as u64).is_err());
    std::os::unix::fs::symlink(&outside, blobs.path(&digest)).unwrap();
    assert!(blobs.open(&digest).is_err());
    assert_eq!(fs::read(&outside).unwrap(), CONTENT);
}
