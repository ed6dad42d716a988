//! Where a file of the log ends: its last whole entry, and what a process that died while writing left behind it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde_json::Value;

use crate::chain::{Hash, Line, take_apart};

/// How much of the end is looked at first. An entry is shorter.
const FIRST_LOOK_BYTES: u64 = 128 << 10;

/// The last whole entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    pub(crate) hash: Hash,
}

impl Head {
    /// Before the first entry.
    pub(crate) const START: Self = Self { sequence: 0, hash: Hash::START };
}

/// How a file ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Its last entry; `None` where it has none.
    pub(crate) head: Option<Head>,
    /// Bytes behind it that are none, without line ends.
    pub(crate) loose: u64,
    /// Whether the last byte is a line's end, or there is none.
    pub(crate) ended: bool,
}

/// Looks at the last `size` bytes' end.
pub(crate) fn ending(file: &File, size: u64) -> io::Result<Ending> {
    let mut length = FIRST_LOOK_BYTES.min(size);
    loop {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, size - length)?;
        let found = within(&bytes, length == size);
        if found.head.is_some() || length == size {
            return Ok(found);
        }
        length = length.saturating_mul(4).min(size);
    }
}

/// The same in memory. `whole`: `bytes` begin where the file begins.
fn within(bytes: &[u8], whole: bool) -> Ending {
    let ended = bytes.last().is_none_or(|last| *last == b'\n');
    let mut loose = 0;
    let mut unended = None;
    let mut parts = bytes.rsplit(|byte| *byte == b'\n').peekable();
    let tail = parts.next().unwrap_or_default();
    if !tail.is_empty() {
        unended = entry(tail);
        loose = tail.len() as u64;
    }
    while let Some(part) = parts.next() {
        // The first part of a look into the middle may begin in the middle of a line.
        if parts.peek().is_none() && !whole {
            break;
        }
        match entry(part) {
            Some((line, sequence)) => {
                let head = Head { sequence, hash: line.hash };
                // Whole but for its line's end?
                return match unended {
                    Some((last, sequence)) if head.hash.after(&last.body) == last.hash => {
                        Ending { head: Some(Head { sequence, hash: last.hash }), loose: 0, ended }
                    }
                    _ => Ending { head: Some(head), loose, ended },
                };
            }
            None => {
                loose += part.len() as u64;
                unended = None;
            }
        }
    }
    Ending { head: None, loose, ended }
}

/// A line that is formed like an entry, with its number.
pub(crate) fn entry(line: &[u8]) -> Option<(Line, u64)> {
    let line = take_apart(line)?;
    let value: Value = serde_json::from_slice(&line.body).ok()?;
    let sequence = value.get("seq")?.as_u64()?;
    Some((line, sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::seal;

    fn lines(count: u64) -> (Vec<u8>, Hash) {
        let mut all = String::new();
        let mut hash = Hash::START;
        for sequence in 1..=count {
            let mut line = format!("{{\"seq\":{sequence}}}");
            hash = seal(&mut line, hash);
            all.push_str(&line);
        }
        (all.into_bytes(), hash)
    }

    #[test]
    fn the_last_whole_entry_is_found_behind_every_torn_one() {
        let (whole, _) = lines(3);
        let (two, second) = lines(2);
        for cut in two.len()..=whole.len() {
            let found = within(&whole[..cut], true);
            if cut + 1 >= whole.len() {
                assert_eq!(found.head.map(|head| head.sequence), Some(3), "{cut}");
                assert_eq!((found.loose, found.ended), (0, cut == whole.len()));
            } else {
                assert_eq!(found.head, Some(Head { sequence: 2, hash: second }), "{cut}");
                assert_eq!(found.loose, (cut - two.len()) as u64);
            }
        }
    }

    #[test]
    fn a_file_without_an_entry_has_none() {
        assert_eq!(within(b"", true), Ending { head: None, loose: 0, ended: true });
        assert_eq!(within(b"{\"seq", true), Ending { head: None, loose: 5, ended: false });
        assert_eq!(within(b"x\n\0\0", true), Ending { head: None, loose: 3, ended: false });
    }

    #[test]
    fn a_long_file_is_looked_at_from_its_end() {
        let (bytes, hash) = lines(4000);
        assert!(bytes.len() as u64 > FIRST_LOOK_BYTES);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let found = ending(&file, bytes.len() as u64).unwrap();
        assert_eq!(found.head, Some(Head { sequence: 4000, hash }));
        let garbage = [&bytes[..], &vec![b'x'; 1 << 20]].concat();
        std::fs::write(&path, &garbage).unwrap();
        let found = ending(&File::open(&path).unwrap(), garbage.len() as u64).unwrap();
        assert_eq!((found.head, found.loose), (Some(Head { sequence: 4000, hash }), 1 << 20));
    }
}
