//! The shelf by itself, with files that nobody restores.

use std::path::PathBuf;
use std::time::Duration;

use super::super::key::test_key;
use super::*;
use crate::vmm::SnapshotFiles;

const MIB: u64 = 1 << 20;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn shelf(&self, quota_bytes: u64) -> Shelf {
        Shelf::of(self.folder.path(), quota_bytes).unwrap()
    }

    /// What a VMM has written: so many bytes that are not zero.
    fn taken(&self, memory_bytes: u64) -> SnapshotFiles {
        let (state, memory) = (self.folder.path().join("s"), self.folder.path().join("m"));
        std::fs::write(&state, "state").unwrap();
        std::fs::write(&memory, vec![7; memory_bytes as usize]).unwrap();
        SnapshotFiles { state, memory }
    }

    fn make(&self, shelf: &Shelf, number: u64, memory_bytes: u64) {
        let making = shelf.begin().unwrap().unwrap();
        making.adopt(&self.taken(memory_bytes)).unwrap().finish(test_key(number)).unwrap();
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.path().join("templates").join(test_key(number).name())
    }

    fn used(&self, number: u64, seconds: u64) {
        let note = File::options().write(true).open(self.path(number).join(NOTE)).unwrap();
        note.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
}

#[test]
fn what_is_made_is_found_and_the_longest_unused_goes() {
    let place = Place::new();
    let shelf = place.shelf(3 * MIB + MIB / 2);
    assert!(shelf.find(&test_key(1)).unwrap().is_none());
    for number in 1..=3 {
        place.make(&shelf, number, MIB);
        place.used(number, number);
    }
    // Used once more, the first is not the longest unused.
    let (files, is_thick) = shelf.find(&test_key(1)).unwrap().unwrap();
    assert!(is_thick);
    assert_eq!(std::fs::metadata(&files.memory).unwrap().len(), MIB);
    place.make(&shelf, 4, MIB);
    let there: Vec<u64> = (1..=4).filter(|number| place.path(*number).exists()).collect();
    assert_eq!(there, [1, 3, 4]);
    place.make(&shelf, 5, 4 * MIB);
    shelf.make_thin(&test_key(5)).unwrap();
    let there: Vec<u64> = (1..=5).filter(|number| place.path(*number).exists()).collect();
    assert_eq!(there, [1, 3, 4], "one that is too large makes no room for itself");
    assert!(!shelf.folder.join(NEW).exists());
    assert!(Shelf::of(place.folder.path(), 0).is_none());
}

#[test]
fn damaged_ones_and_those_of_others_are_removed() {
    let place = Place::new();
    let shelf = place.shelf(64 * MIB);
    let damages: [fn(&Path); 6] = [
        |folder| std::fs::write(folder.join(NOTE), "{").unwrap(),
        |folder| std::fs::remove_file(folder.join(NOTE)).unwrap(),
        |folder| std::fs::remove_file(folder.join(STATE)).unwrap(),
        |folder| std::fs::remove_file(folder.join(MEMORY)).unwrap(),
        |folder| {
            std::fs::remove_file(folder.join(MEMORY)).unwrap();
            std::fs::write(folder.join(MEMORY), "short").unwrap();
        },
        // Another's, under the same name.
        |folder| {
            let mut note: Note = serde_json::from_slice(&std::fs::read(folder.join(NOTE)).unwrap()).unwrap();
            note.key = test_key(2);
            std::fs::write(folder.join(NOTE), serde_json::to_vec(&note).unwrap()).unwrap();
        },
    ];
    for damage in damages {
        place.make(&shelf, 1, MIB);
        damage(&place.path(1));
        assert!(shelf.find(&test_key(1)).unwrap().is_none());
        assert!(!place.path(1).exists());
    }
    place.make(&shelf, 1, MIB);
    assert!(shelf.find(&test_key(1)).unwrap().is_some());
}

#[test]
fn one_is_made_at_a_time_and_what_a_dead_maker_left_goes() {
    let place = Place::new();
    assert!(sweep(place.folder.path()).unwrap().is_empty(), "there is nothing yet");
    let shelf = place.shelf(64 * MIB);
    let making = shelf.begin().unwrap().unwrap();
    assert!(shelf.begin().unwrap().is_none(), "others boot meanwhile");
    assert!(making.has_room(1).unwrap() && !making.has_room(u64::MAX / 2).unwrap());
    let adopted = making.adopt(&place.taken(MIB)).unwrap();
    assert!(sweep(place.folder.path()).unwrap().is_empty(), "its maker lives");
    assert!(shelf.folder.join(NEW).exists());
    // As by kill -9: the lock is gone, and the files are not.
    drop(adopted);
    assert_eq!(sweep(place.folder.path()).unwrap().len(), 1);
    assert!(!shelf.folder.join(NEW).exists());
    drop(shelf.begin().unwrap().unwrap().adopt(&place.taken(MIB)).unwrap());
    place.make(&shelf, 1, MIB);
    std::fs::remove_file(place.path(1).join(NOTE)).unwrap();
    assert_eq!(sweep(place.folder.path()).unwrap().len(), 1, "a template without a note");
    place.make(&shelf, 2, MIB);
    assert!(sweep(place.folder.path()).unwrap().is_empty());
    assert!(place.path(2).exists());
}

/// As where the disk is full: in what is made, nothing can be written any more.
#[test]
fn one_that_can_not_be_finished_is_gone() {
    let place = Place::new();
    let shelf = place.shelf(64 * MIB);
    let adopted = shelf.begin().unwrap().unwrap().adopt(&place.taken(MIB)).unwrap();
    std::fs::create_dir(shelf.folder.join(NEW).join(NOTE)).unwrap();
    adopted.finish(test_key(1)).unwrap_err();
    assert!(!shelf.folder.join(NEW).exists() && !place.path(1).exists());
    let missing = SnapshotFiles { memory: place.folder.path().join("none"), ..place.taken(MIB) };
    shelf.begin().unwrap().unwrap().adopt(&missing).unwrap_err();
    assert!(!shelf.folder.join(NEW).exists() && !missing.state.exists());
    place.make(&shelf, 1, MIB);
    assert!(shelf.find(&test_key(1)).unwrap().is_some());
}

/// Only their order counts, and that may be wrong by it.
#[test]
fn a_clock_that_is_set_makes_no_template_useless() {
    let place = Place::new();
    let shelf = place.shelf(3 * MIB + MIB / 2);
    for (number, seconds) in [(1, 0), (2, 20_000_000_000), (3, 1)] {
        place.make(&shelf, number, MIB);
        place.used(number, seconds);
    }
    for number in [1, 2] {
        assert!(shelf.find(&test_key(number)).unwrap().is_some(), "{number}");
    }
    place.make(&shelf, 4, MIB);
    assert!(shelf.find(&test_key(4)).unwrap().is_some());
    assert!(shelf.find(&test_key(3)).unwrap().is_none(), "the longest unused, as far as the clock tells");
    assert!(sweep(place.folder.path()).unwrap().is_empty());
}

#[test]
fn zeroes_of_one_go_back_to_the_disk_once() {
    let place = Place::new();
    let shelf = place.shelf(2 * MIB);
    let taken = place.taken(MIB);
    let mut memory = vec![0; 8 * MIB as usize];
    memory[5 * MIB as usize] = 7;
    std::fs::write(&taken.memory, &memory).unwrap();
    shelf.begin().unwrap().unwrap().adopt(&taken).unwrap().finish(test_key(1)).unwrap();
    let (files, is_thick) = shelf.find(&test_key(1)).unwrap().unwrap();
    assert!(is_thick, "one that fits once it is thin is used before");
    shelf.make_thin(&test_key(1)).unwrap();
    assert!(!shelf.find(&test_key(1)).unwrap().unwrap().1);
    assert!(std::fs::read(&files.memory).unwrap() == memory);
    assert!(disk_bytes(&place.path(1)).unwrap() < MIB);
    assert!(std::fs::metadata(&files.memory).unwrap().permissions().readonly());
}
