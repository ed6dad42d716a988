//! The reader on streams of two kinds of hands: a library's, and chance's.

use std::io::{BufReader, Read};

use proptest::prelude::*;

use super::{Entry, EntryKind, TarError, TarLimits, TarReader};

fn library_made(path: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o4755);
    header.set_uid(1000);
    header.set_gid(65_534);
    header.set_mtime(1_700_000_000);
    builder.append_data(&mut header, path, content).unwrap();
    builder.into_inner().unwrap()
}

/// All entries with their contents; small buffers, so that every border is crossed.
fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = TarReader::new(BufReader::with_capacity(100, bytes), TarLimits::default());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        entries.push((entry, content));
    }
    Ok(entries)
}

#[test]
fn what_a_library_writes_is_read() {
    let long = format!("{}/file", "folder".repeat(30));
    for (path, size) in [("file", 0), ("file", 1), ("file", 512), (long.as_str(), 1300)] {
        let content: Vec<u8> = (0..size).map(|n| n as u8).collect();
        let entries = read_all(&library_made(path, &content)).unwrap();
        let [(entry, read)] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((entry.path.as_slice(), read), (path.as_bytes(), &content));
        assert_eq!(entry.kind, EntryKind::File { size });
        assert_eq!((entry.mode, entry.uid, entry.gid), (0o4755, 1000, 65_534));
        assert_eq!(entry.modified.seconds, 1_700_000_000);
    }
}

#[test]
fn content_that_nobody_reads_is_passed_over() {
    let two = [&library_made("one", &[7; 700])[..1536], &library_made("two", b"2")].concat();
    let mut reader = TarReader::new(&two[..], TarLimits::default());
    let paths = std::iter::from_fn(|| reader.next().unwrap()).map(|entry| entry.path);
    assert_eq!(paths.collect::<Vec<_>>(), [b"one", b"two"]);
}

#[test]
fn a_missing_end_mark_is_fine_and_a_missing_end_is_not() {
    let whole = library_made("file", &[7; 700]);
    assert_eq!(read_all(&whole[..1536]).unwrap().len(), 1);
    for end in (1..1536).filter(|end| *end != 512 || whole.len() < 1024) {
        assert!(read_all(&whole[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        drop(read_all(&bytes));
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(at in 0usize..2048, byte in any::<u8>()) {
        let mut bytes = library_made("some/file", &[7; 700]);
        let at = at % bytes.len();
        bytes[at] = byte;
        drop(read_all(&bytes));
    }
}
