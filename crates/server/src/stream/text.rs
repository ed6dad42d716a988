//! Output as text where it is text. A character that two reads split is held back until the rest has come; what is no
//! text at all is passed on as bytes, exactly.

use bytes::{Bytes, BytesMut};

/// Some output, ready for JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Whole characters.
    Text(Bytes),
    /// Anything else.
    Binary(Bytes),
}

/// One stream's characters. Keeps at most three bytes.
#[derive(Debug, Default)]
pub(crate) struct Characters {
    held: BytesMut,
}

impl Characters {
    /// What can be sent of the stream now that `bytes` have come.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Option<Piece> {
        let mut all = if self.held.is_empty() {
            bytes
        } else {
            self.held.extend_from_slice(&bytes);
            self.held.split().freeze()
        };
        match std::str::from_utf8(&all) {
            Ok(_) => {}
            Err(error) if error.error_len().is_none() => {
                self.held.extend_from_slice(&all.split_off(error.valid_up_to()));
            }
            Err(_) => return Some(Piece::Binary(all)),
        }
        (!all.is_empty()).then_some(Piece::Text(all))
    }

    /// How many bytes are held back.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// What is left at the stream's end: the beginning of a character that never came.
    pub(crate) fn end(&mut self) -> Option<Piece> {
        (!self.held.is_empty()).then(|| Piece::Binary(self.held.split().freeze()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(pieces: Vec<Piece>) -> Vec<u8> {
        let inner = pieces.into_iter().map(|piece| match piece {
            Piece::Text(bytes) => {
                assert!(std::str::from_utf8(&bytes).is_ok());
                bytes
            }
            Piece::Binary(bytes) => bytes,
        });
        inner.flatten().collect()
    }

    fn pushed(chunks: &[Vec<u8>]) -> Vec<Piece> {
        let mut characters = Characters::default();
        let mut pieces: Vec<Piece> =
            chunks.iter().filter_map(|chunk| characters.push(Bytes::copy_from_slice(chunk))).collect();
        pieces.extend(characters.end());
        pieces
    }

    #[test]
    fn a_character_is_never_split() {
        let pieces = pushed(&["a\u{20ac}".as_bytes()[..2].to_vec(), "\u{20ac}".as_bytes()[1..].to_vec()]);
        let text = |text: &'static str| Piece::Text(Bytes::from_static(text.as_bytes()));
        assert_eq!(pieces, [text("a"), text("\u{20ac}")]);
    }

    #[test]
    fn what_is_no_text_is_bytes() {
        assert_eq!(pushed(&[b"a\xff".to_vec()]), [Piece::Binary(Bytes::from_static(b"a\xff"))]);
        assert_eq!(pushed(&[b"\xe2".to_vec()]), [Piece::Binary(Bytes::from_static(b"\xe2"))]);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_changed(chunks: Vec<Vec<u8>>) {
            prop_assert_eq!(bytes_of(pushed(&chunks)), chunks.concat());
        }

        #[test]
        fn text_stays_text_however_it_is_cut(text: String, cut in 1_usize..5) {
            let chunks: Vec<Vec<u8>> = text.as_bytes().chunks(cut).map(<[u8]>::to_vec).collect();
            let pieces = pushed(&chunks);
            prop_assert!(pieces.iter().all(|piece| matches!(piece, Piece::Text(_))));
            prop_assert_eq!(bytes_of(pieces), text.into_bytes());
        }
    }
}
