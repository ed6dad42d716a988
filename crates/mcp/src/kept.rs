//! What a command wrote, as far as a model is shown it: the beginning and the end. Errors stand at the end, and what was
//! being done stands at the beginning.

use std::collections::VecDeque;

use crate::answers::whole_characters;

/// One of a command's outputs.
#[derive(Debug)]
pub(crate) struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_room: usize,
    tail_room: usize,
    total: u64,
}

impl Kept {
    /// At most `limit` bytes: a quarter from the beginning, the rest from the end.
    pub(crate) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let head_room = limit / 4;
        Self { head: Vec::new(), tail: VecDeque::new(), head_room, tail_room: limit - head_room, total: 0 }
    }

    /// Takes what was written.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (first, rest) = bytes.split_at(bytes.len().min(self.head_room - self.head.len()));
        self.head.extend_from_slice(first);
        // Of more than there is room for, the end.
        let rest = &rest[rest.len().saturating_sub(self.tail_room)..];
        let too_many = (self.tail.len() + rest.len()).saturating_sub(self.tail_room);
        self.tail.drain(..too_many);
        self.tail.extend(rest);
    }

    /// Whether a part is left out.
    pub(crate) fn is_cut(&self) -> bool {
        self.left_out() > 0
    }

    fn left_out(&self) -> u64 {
        self.total - self.head.len() as u64 - self.tail.len() as u64
    }

    /// As text; bytes that are none are replaced by U+FFFD.
    pub(crate) fn into_text(self) -> String {
        let left_out = self.left_out();
        let mut bytes = self.head;
        if left_out == 0 {
            bytes.extend(self.tail);
            return text(bytes);
        }
        bytes.truncate(whole_characters(&bytes));
        // Continuation bytes whose beginning is gone.
        let broken = self.tail.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
        let tail: Vec<u8> = self.tail.into_iter().skip(broken).collect();
        format!("{}\n[... {left_out} bytes left out ...]\n{}", text(bytes), text(tail))
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(limit: u64, pieces: &[&[u8]]) -> Kept {
        let mut kept = Kept::new(limit);
        pieces.iter().for_each(|piece| kept.push(piece));
        kept
    }

    #[test]
    fn what_fits_is_whole() {
        let kept = kept(8, &[b"ab", b"cdefg", b"h"]);
        assert!(!kept.is_cut());
        assert_eq!(kept.into_text(), "abcdefgh");
    }

    #[test]
    fn of_more_the_beginning_and_the_end_are_kept() {
        let kept = kept(8, &[b"0123456789", b"", b"abc"]);
        assert!(kept.is_cut());
        assert_eq!(kept.into_text(), "01\n[... 5 bytes left out ...]\n789abc");
        let nothing = super::tests::kept(0, &[b"abc"]);
        assert!(nothing.is_cut());
        assert_eq!(nothing.into_text(), "\n[... 3 bytes left out ...]\n");
    }

    #[test]
    fn no_character_is_torn_at_the_cut() {
        let text = "\u{1F980}".repeat(100);
        for limit in 8..40 {
            assert!(!kept(limit, &[text.as_bytes()]).into_text().contains('\u{FFFD}'), "{limit}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_never_less_than_there_is(
            limit in 0_u64..64,
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
        ) {
            let mut kept = Kept::new(limit);
            pieces.iter().for_each(|piece| kept.push(piece));
            let all = pieces.concat();
            let held = (kept.head.len() + kept.tail.len()) as u64;
            prop_assert_eq!(held, limit.min(all.len() as u64));
            prop_assert!(all.starts_with(&kept.head));
            prop_assert!(all.ends_with(kept.tail.make_contiguous()));
        }
    }
}
