//! What a segment of an earlier agent holds: its records, one after the other, up to the first that doesn't hold.

use std::os::fd::OwnedFd;

use agentkernel_protocol::{LOG_RECORD_HEADER, LogRecord};
use rustix::fs::FileType;

/// Read at once: several hundred headers where records are short.
const BLOCK: usize = 4096;

/// The whole records of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The offset of the first byte.
    pub(super) start: u64,
    /// The offset after the last byte.
    pub(super) end: u64,
    /// Their length in the file, headers included.
    pub(super) length: u64,
}

/// Lets others run between blocks. `None` where there isn't even one record.
pub(super) async fn walk(file: &OwnedFd) -> Option<Found> {
    let stat = rustix::fs::fstat(file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let size = u64::try_from(stat.st_size).ok()?;
    let mut found: Option<Found> = None;
    let mut block = [0; BLOCK];
    loop {
        let position = found.map_or(0, |found| found.length);
        let count = rustix::io::pread(file, &mut block, position).unwrap_or(0);
        let mut at = 0;
        while let Ok(Some(record)) = LogRecord::decode(block.get(at..count).unwrap_or_default()) {
            let after = at + LOG_RECORD_HEADER + record.length;
            let follows = found.is_none_or(|found| found.end == record.offset);
            if !follows || position + after as u64 > size {
                return found;
            }
            let start = found.map_or(record.offset, |found| found.start);
            found = Some(Found { start, end: record.end(), length: position + after as u64 });
            at = after;
        }
        if at == 0 {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use agentkernel_protocol::Stream;

    use super::*;

    fn record(offset: u64, length: usize) -> Vec<u8> {
        let header = LogRecord { offset, length, stream: Stream::Output }.encode();
        [&header[..], &vec![7; length]].concat()
    }

    async fn walked(content: &[u8]) -> Option<Found> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        walk(&file.into()).await
    }

    #[tokio::test]
    async fn records_count_up_to_the_first_that_does_not_hold() {
        let first: Vec<u8> = [record(5, 1000), record(1005, 9000), record(10005, 1)].concat();
        let whole = Found { start: 5, end: 10006, length: first.len() as u64 };
        assert_eq!(walked(&first).await, Some(whole));
        let gap = record(10007, 4);
        let cut = &record(10006, 40)[..30];
        for broken in [&gap[..], cut, &[0; 100][..], &[0xff; 13][..], b"short"] {
            assert_eq!(walked(&[&first, broken].concat()).await, Some(whole));
        }
        assert_eq!(walked(b"").await, None);
        assert_eq!(walked(&[1; 5000]).await, None);
    }

    #[tokio::test]
    async fn many_short_ones_are_counted() {
        let content: Vec<u8> = (0..20_000).flat_map(|number| record(number, 1)).collect();
        let found = walked(&content).await.unwrap();
        assert_eq!((found.start, found.end, found.length), (0, 20_000, content.len() as u64));
    }

    #[tokio::test]
    async fn what_is_no_file_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(walk(&std::fs::File::open(folder.path()).unwrap().into()).await, None);
    }
}
