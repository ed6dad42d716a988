//! Records of a log, on the agent's disk and on the wire: a header of thirteen bytes, then the content.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0..8 | offset of the first byte in the command's whole output, little-endian |
//! | 8..12 | length of the content, little-endian; never 0 |
//! | 12 | number of the stream: output or error |

use crate::{MAX_PAYLOAD, Stream};

/// Bytes before the content.
pub const LOG_RECORD_HEADER: usize = 13;

/// The longest content: what a pipe holds, usually, and is read of it at once.
pub const MAX_LOG_RECORD: usize = MAX_PAYLOAD;

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRecord {
    /// Of the first byte, counted over both streams.
    pub offset: u64,
    /// Of the content; 1 to [`MAX_LOG_RECORD`].
    pub length: usize,
    /// [`Stream::Output`] or [`Stream::Error`].
    pub stream: Stream,
}

impl LogRecord {
    /// As it is written. Its fields must be within their bounds; that is the caller's promise.
    pub fn encode(self) -> [u8; LOG_RECORD_HEADER] {
        debug_assert!((1..=MAX_LOG_RECORD).contains(&self.length) && self.stream != Stream::Input);
        let [o0, o1, o2, o3, o4, o5, o6, o7] = self.offset.to_le_bytes();
        let [l0, l1, l2, l3] = (self.length as u32).to_le_bytes();
        [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, self.stream.number()]
    }

    /// The header at the start of `bytes`: `None` where they are too few, an error where they can't be one.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, NoLogRecord> {
        let Some((header, _)) = bytes.split_first_chunk::<LOG_RECORD_HEADER>() else { return Ok(None) };
        let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, number] = *header;
        let offset = u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let stream = [Stream::Output, Stream::Error].into_iter().find(|stream| stream.number() == number);
        let in_bounds = (1..=MAX_LOG_RECORD).contains(&length) && offset.checked_add(length as u64).is_some();
        match stream.filter(|_| in_bounds) {
            Some(stream) => Ok(Some(Self { offset, length, stream })),
            None => Err(NoLogRecord),
        }
    }

    /// The offset after its last byte.
    pub fn end(self) -> u64 {
        self.offset + self.length as u64
    }
}

/// Bytes that aren't a record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is damaged")]
pub struct NoLogRecord;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_survives(offset in 0..u64::MAX / 2, length in 1..=MAX_LOG_RECORD, error: bool) {
            let stream = if error { Stream::Error } else { Stream::Output };
            let record = LogRecord { offset, length, stream };
            let bytes = record.encode();
            prop_assert_eq!(LogRecord::decode(&bytes), Ok(Some(record)));
            prop_assert_eq!(LogRecord::decode(&bytes[..12]), Ok(None));
        }

        #[test]
        fn what_decodes_is_within_bounds(bytes: [u8; 13]) {
            if let Ok(Some(record)) = LogRecord::decode(&bytes) {
                prop_assert!(record.length > 0 && record.length <= MAX_LOG_RECORD && record.end() > record.offset);
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let good = LogRecord { offset: 1, length: 1, stream: Stream::Output }.encode();
        for (place, value) in [(8, 0), (10, 2), (12, 0), (12, 3)] {
            let mut bad = good;
            bad[place] = value;
            assert_eq!(LogRecord::decode(&bad), Err(NoLogRecord), "{place}");
        }
        let far = [&[0xff; 8][..], &good[8..]].concat();
        assert_eq!(LogRecord::decode(&far), Err(NoLogRecord));
    }
}
