//! The bounded log of a detached command.

use std::collections::VecDeque;

use super::command::Stream;

/// Output in the order it came; the oldest bytes go first. Offsets count both streams together from the start.
#[derive(Clone)]
pub(super) struct Log {
    limit: u64,
    first: u64,
    next: u64,
    pieces: VecDeque<(Stream, Vec<u8>)>,
}

impl Log {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, first: 0, next: 0, pieces: VecDeque::new() }
    }

    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        self.next += bytes.len() as u64;
        self.pieces.push_back((stream, bytes.to_vec()));
        while self.next - self.first > self.limit {
            let excess = self.next - self.first - self.limit;
            let Some((_, piece)) = self.pieces.front_mut() else { break };
            let cut = excess.min(piece.len() as u64);
            piece.drain(..cut as usize);
            self.first += cut;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    /// The first offset at or after `offset` that is still there; `None` beyond the end.
    pub(super) fn start(&self, offset: u64) -> Option<u64> {
        (offset <= self.next).then(|| offset.max(self.first))
    }

    /// What `stream` holds from `offset` on, and the offset after it.
    pub(super) fn read(&self, stream: Stream, offset: u64) -> (Vec<u8>, u64) {
        let mut at = self.first;
        let mut bytes = Vec::new();
        for (from, piece) in &self.pieces {
            let skip = offset.saturating_sub(at).min(piece.len() as u64) as usize;
            if *from == stream {
                bytes.extend_from_slice(&piece[skip..]);
            }
            at += piece.len() as u64;
        }
        (bytes, self.next)
    }

    /// The offset after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// What follows from `offset` on and is of one stream; nothing at the end. An error, with the first offset that is
    /// there, where it was dropped.
    pub(super) fn piece(&self, offset: u64) -> Result<(Stream, Vec<u8>), u64> {
        if offset < self.first {
            return Err(self.first);
        }
        let mut at = self.first;
        for (stream, piece) in &self.pieces {
            let skip = (offset - at) as usize;
            if let Some(rest) = piece.get(skip..).filter(|rest| !rest.is_empty()) {
                return Ok((*stream, rest.to_vec()));
            }
            at += piece.len() as u64;
        }
        Ok((Stream::Out, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_bytes_go_first_and_offsets_stay() {
        let mut log = Log::new(4);
        log.push(Stream::Out, b"ab");
        log.push(Stream::Err, b"cd");
        log.push(Stream::Out, b"e");
        assert_eq!(log.start(0), Some(1));
        assert_eq!(log.read(Stream::Out, 0), (b"be".to_vec(), 5));
        assert_eq!(log.read(Stream::Err, 3), (b"d".to_vec(), 5));
        assert_eq!(log.start(99), None);
        assert_eq!(log.piece(0), Err(1));
        assert_eq!(log.piece(1), Ok((Stream::Out, b"b".to_vec())));
        assert_eq!(log.piece(3), Ok((Stream::Err, b"d".to_vec())));
        assert_eq!(log.piece(log.end()), Ok((Stream::Out, Vec::new())));
    }
}
