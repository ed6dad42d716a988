//! The end of what a terminal has shown.

use std::collections::VecDeque;

use bytes::Bytes;

/// How much is kept.
const KEPT: usize = 1 << 20;

/// The last bytes, and how many came before them.
#[derive(Debug, Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    dropped: u64,
}

impl Ring {
    /// Adds bytes; the oldest go.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let tail = bytes.len().saturating_sub(KEPT);
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(KEPT);
        let old = excess.min(self.bytes.len());
        self.bytes.drain(..old);
        self.bytes.extend(&bytes[tail..]);
        self.dropped += excess as u64;
    }

    /// All that is kept, and how many bytes are not.
    pub(super) fn snapshot(&self) -> (Bytes, u64) {
        let (front, back) = self.bytes.as_slices();
        ([front, back].concat().into(), self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mebibyte_is_kept() {
        let mut ring = Ring::default();
        ring.push(b"abc");
        assert_eq!(ring.snapshot(), (Bytes::from_static(b"abc"), 0));
        ring.push(&vec![b'x'; KEPT - 1]);
        let (kept, dropped) = ring.snapshot();
        assert_eq!((kept.len(), dropped, kept[0]), (KEPT, 2, b'c'));
        let mut large = vec![b'y'; KEPT + 7];
        large.push(b'z');
        ring.push(&large);
        let (kept, dropped) = ring.snapshot();
        assert_eq!((kept.len(), dropped, kept[KEPT - 1]), (KEPT, 2 + KEPT as u64 + 8, b'z'));
    }
}
