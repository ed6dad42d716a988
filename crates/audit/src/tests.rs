//! The log as a whole: what is appended, by how many, and through which crashes, is what is verified and read.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use crate::{AuditLog, AuditSettings, Entry, Verified, VerifyOptions, tail, verify};

const CURRENT: &str = "audit.jsonl";

fn settings() -> AuditSettings {
    AuditSettings { sync_every: None, ..AuditSettings::default() }
}

fn small_files() -> AuditSettings {
    AuditSettings { max_file_bytes: 2000, keep_files: 3, ..settings() }
}

fn open(folder: &Path) -> AuditLog {
    AuditLog::open(folder, settings()).unwrap()
}

fn record(log: &AuditLog, sandbox: &str, number: u64) {
    log.record(&Entry::new("command_executed").sandbox(sandbox).field("number", number)).unwrap();
}

fn check(folder: &Path) -> Verified {
    verify(folder, &VerifyOptions::default()).unwrap()
}

fn numbers(folder: &Path, sandbox: Option<&str>, count: usize) -> Vec<u64> {
    tail(folder, sandbox, count).unwrap().iter().filter_map(|entry| entry["number"].as_u64()).collect()
}

#[test]
fn what_is_recorded_is_verified_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("daemon/audit");
    let log = open(&folder);
    for number in 0..10 {
        record(&log, if number % 2 == 0 { "even" } else { "odd" }, number);
    }
    log.sync().unwrap();
    let found = check(&folder);
    assert_eq!((found.entries, found.first, found.last, found.broken), (11, Some(1), Some(11), None));
    assert_eq!(numbers(&folder, None, 3), [7, 8, 9]);
    assert_eq!(log.tail(Some("odd"), 100).unwrap().len(), 5);
    assert_eq!(numbers(&folder, Some("even"), 2), [6, 8]);
    assert_eq!(numbers(&folder, Some("nobody"), 2), [0; 0]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(CURRENT))), (0o700, 0o600));
}

#[test]
fn an_absent_or_disabled_log_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(check(&dir.path().join("none")), Verified::default());
    assert!(tail(&dir.path().join("none"), None, 5).unwrap().is_empty());
    let log = AuditLog::disabled();
    record(&log, "x", 1);
    assert!(!log.is_enabled() && log.tail(None, 5).unwrap().is_empty());
}

#[test]
fn a_change_a_removal_and_an_insertion_are_named_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    (0..5).for_each(|number| record(&log, "x", number));
    let path = dir.path().join(CURRENT);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without = |index: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, line)| *line);
        kept.collect::<Vec<_>>().join("\n") + "\n"
    };
    for (changed, line) in [
        (text.replace("\"number\":2", "\"number\":7"), 4),
        (without(3), 4),
        (without(0), 1),
        (text.replacen(lines[3], &format!("{}\n{}", lines[2], lines[3]), 1), 4),
        (text.replacen(lines[2], "garbage", 1), 3),
        (text.replacen(lines[2], "", 1), 3),
    ] {
        fs::write(&path, changed).unwrap();
        let broken = check(dir.path()).broken.unwrap_or_else(|| panic!("line {line}"));
        assert_eq!((broken.path, broken.line), (path.clone(), line), "{}", broken.why);
    }
}

#[test]
fn a_cut_end_shows_by_the_hash_that_was_noted() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    (0..5).for_each(|number| record(&log, "x", number));
    let head = check(dir.path()).head;
    let options = VerifyOptions { contains: head };
    record(&log, "x", 5);
    assert!(verify(dir.path(), &options).unwrap().is_whole());
    let path = dir.path().join(CURRENT);
    let text = fs::read_to_string(&path).unwrap();
    let cut = text.lines().take(4).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(&path, cut).unwrap();
    assert!(check(dir.path()).is_whole(), "the chain alone can't show it");
    assert!(!verify(dir.path(), &options).unwrap().is_whole());
}

#[test]
fn the_chain_goes_on_over_files_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path(), small_files()).unwrap();
    (0..100).for_each(|number| record(&log, "x", number));
    let found = check(dir.path());
    assert_eq!((found.files, found.broken.clone()), (4, None), "{found:?}");
    assert!(found.first.is_some_and(|first| first > 1));
    assert_eq!(numbers(dir.path(), Some("x"), 12), (88..100).collect::<Vec<_>>(), "over the edge of files");
    // A file that is missing in the middle shows.
    let mut aside: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    aside.retain(|path| path.to_string_lossy().contains("audit-"));
    aside.sort();
    fs::remove_file(&aside[1]).unwrap();
    assert_eq!(
        check(dir.path()).broken.map(|broken| (broken.path, broken.line)),
        Some((aside[2].clone(), 1))
    );
}

#[test]
fn several_logs_of_one_folder_make_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let many_files = || AuditSettings { max_file_bytes: 20_000, keep_files: 100, ..settings() };
    std::thread::scope(|scope| {
        for sandbox in ["a", "b", "c", "d"] {
            // Each has its own handle and its own lock, as another process would.
            scope.spawn(move || {
                let log = AuditLog::open(folder, many_files()).unwrap();
                (0..200).for_each(|number| record(&log, sandbox, number));
            });
        }
    });
    let found = check(dir.path());
    assert!(found.is_whole() && found.torn.is_empty(), "{found:?}");
    for sandbox in ["a", "b", "c", "d"] {
        assert_eq!(numbers(dir.path(), Some(sandbox), 1000), (0..200).collect::<Vec<_>>());
    }
}

#[test]
fn a_log_that_was_removed_goes_on_with_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    (0..3).for_each(|number| record(&log, "x", number));
    fs::remove_file(dir.path().join(CURRENT)).unwrap();
    record(&log, "x", 3);
    let found = check(dir.path());
    assert_eq!(
        (found.first, found.last, found.broken),
        (Some(5), Some(6), None),
        "1 to 4 are seen to be missing"
    );
}

#[test]
fn a_crash_between_putting_aside_and_beginning_anew_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(dir.path(), small_files()).unwrap();
    (0..20).for_each(|number| record(&log, "x", number));
    let found = check(dir.path());
    let last = found.last.unwrap();
    fs::rename(dir.path().join(CURRENT), dir.path().join(format!("audit-{last:020}.jsonl"))).unwrap();
    record(&open(dir.path()), "x", 20);
    assert!(check(dir.path()).is_whole());
    assert_eq!(check(dir.path()).last, Some(last + 2));
}

#[test]
fn a_lasting_log_is_synced_and_its_thread_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let every = Some(std::time::Duration::from_millis(1));
    let log = AuditLog::open(dir.path(), AuditSettings { sync_every: every, ..small_files() }).unwrap();
    (0..50).for_each(|number| record(&log.clone(), "x", number));
    drop(log);
    assert!(check(dir.path()).is_whole());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A process that dies in the middle of a write, at any byte, any number of times.
    #[test]
    fn torn_lines_are_told_and_nothing_else_is_lost(cuts in prop::collection::vec((1_u64..4, any::<prop::sample::Index>()), 1..5)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CURRENT);
        let mut whole = Vec::new();
        let mut number = 0;
        for (count, cut) in cuts {
            let log = open(dir.path());
            for _ in 0..count {
                record(&log, "x", number);
                whole.push(number);
                number += 1;
            }
            let before = fs::metadata(&path).unwrap().len() as usize;
            record(&log, "x", number);
            let bytes = fs::read(&path).unwrap();
            let kept = before + cut.index(bytes.len() - before + 1);
            fs::write(&path, &bytes[..kept]).unwrap();
            if kept + 1 >= bytes.len() {
                whole.push(number);
            }
            number += 1;
        }
        record(&open(dir.path()), "x", number);
        whole.push(number);
        let found = check(dir.path());
        prop_assert!(found.is_whole(), "{found:?}");
        prop_assert_eq!(numbers(dir.path(), Some("x"), 1000), whole);
    }

    /// Whatever lies there: an append succeeds, and what comes behind is read.
    #[test]
    fn garbage_in_the_file_stops_nobody(garbage in prop::collection::vec(any::<u8>(), 1..300)) {
        let dir = tempfile::tempdir().unwrap();
        record(&open(dir.path()), "x", 1);
        let path = dir.path().join(CURRENT);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&garbage).unwrap();
        record(&open(dir.path()), "x", 2);
        prop_assert_eq!(numbers(dir.path(), Some("x"), 10), [1, 2]);
        check(dir.path());
    }
}
