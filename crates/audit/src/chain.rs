//! The chain: each line ends with the SHA-256 of the hash before it and of its own bytes.

use std::fmt;

use ring::digest::{Context, SHA256};

/// `,"hash":"` and 64 digits and `"}`.
const TRAILER_BYTES: usize = TRAILER.len() + 64 + 2;
const TRAILER: &str = ",\"hash\":\"";

/// The hash of a line, which stands for all lines up to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    /// Before the first line of a log.
    pub(crate) const START: Self = Self([0; 32]);

    /// Of a line whose text, without the hash, is `body`.
    pub(crate) fn after(self, body: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(body);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }

    /// From 64 digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Turns a body into a whole line that follows `previous`, its end included; returns its hash.
pub(crate) fn seal(body: &mut String, previous: Hash) -> Hash {
    let hash = previous.after(body.as_bytes());
    // The body is an object: its last character is the brace that comes again after the hash.
    body.pop();
    body.push_str(TRAILER);
    body.push_str(&hash.to_string());
    body.push_str("\"}\n");
    hash
}

/// A line, taken apart. Nothing says yet that the hash is right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The text that was hashed.
    pub(crate) body: Vec<u8>,
    /// The hash that stands in it.
    pub(crate) hash: Hash,
}

/// Takes a line (without its end) apart; `None` where it isn't formed like one of ours.
pub(crate) fn take_apart(line: &[u8]) -> Option<Line> {
    let at = line.len().checked_sub(TRAILER_BYTES)?;
    let (start, trailer) = line.split_at(at);
    let digits = std::str::from_utf8(trailer).ok()?.strip_prefix(TRAILER)?.strip_suffix("\"}")?;
    let hash = Hash::parse(digits)?;
    let mut body = start.to_vec();
    body.push(b'}');
    Some(Line { body, hash })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sealed_line_comes_apart_again() {
        let mut line = "{\"a\":1}".to_owned();
        let hash = seal(&mut line, Hash::START);
        let apart = take_apart(line.trim_end().as_bytes()).unwrap();
        assert_eq!(apart.body, b"{\"a\":1}");
        assert_eq!((apart.hash, Hash::START.after(&apart.body)), (hash, hash));
        assert_ne!(hash, hash.after(&apart.body), "what came before counts");
        assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
    }

    proptest! {
        #[test]
        fn any_change_of_a_line_shows(value in "[a-z\"]{0,20}", at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut line = format!("{{\"a\":{}}}", serde_json::Value::from(value));
            seal(&mut line, Hash::START);
            let mut bytes = line.trim_end().as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let right = take_apart(&bytes).is_some_and(|line| Hash::START.after(&line.body) == line.hash);
            prop_assert!(!right);
        }

        #[test]
        fn any_bytes_can_be_taken_apart_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            take_apart(&bytes);
        }
    }
}
