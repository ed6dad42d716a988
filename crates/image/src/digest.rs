//! The name of content: what it hashes to. Only SHA-256 is known, which every registry gives; another algorithm is an
//! error, since content that can't be verified is not taken.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use agentkernel_model::ImageId;
use serde::{Deserialize, Serialize};

use crate::ImageError;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hex digits (OCI image-spec, `descriptor.md`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The hash itself.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 digits.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let both = |byte: &u8| [byte >> 4, byte & 15].map(|half| char::from(DIGITS[usize::from(half)]));
        self.0.iter().flat_map(both).collect()
    }

    /// The first 12 digits: enough for people, and what [`agentkernel_model::PullEvent`] names layers by.
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }

    /// As an image's id: the digest must be that of its configuration.
    pub fn to_image_id(&self) -> ImageId {
        // A digest's text is always an id's.
        self.to_string().parse().unwrap_or_else(|_| unreachable!("a digest's text is an image id's"))
    }
}

impl From<&ImageId> for Digest {
    fn from(id: &ImageId) -> Self {
        parse_hex(id.hex()).unwrap_or_else(|| unreachable!("an image id's text is a digest's"))
    }
}

fn parse_hex(hex: &str) -> Option<Digest> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(Digest(bytes))
}

impl FromStr for Digest {
    type Err = ImageError;
    fn from_str(text: &str) -> Result<Self, ImageError> {
        let digest = text.strip_prefix("sha256:").and_then(parse_hex);
        digest.ok_or_else(|| ImageError::Digest { text: text.chars().take(80).collect() })
    }
}

impl TryFrom<String> for Digest {
    type Error = ImageError;
    fn try_from(text: String) -> Result<Self, ImageError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("sha256:{}", self.hex()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a [`Digest`] of what passes by.
#[derive(Clone)]
pub struct Hasher(ring::digest::Context);

impl Hasher {
    /// Nothing has passed yet.
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// `bytes` pass.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that passed.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// Reads through, and hashes what is read.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
    bytes: u64,
}

impl<R: Read> HashingReader<R> {
    /// Of `inner`, from where it stands.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::new(), bytes: 0 }
    }

    /// How many bytes were read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of what was read, and the reader.
    pub fn finish(self) -> (Digest, R) {
        (self.hasher.finish(), self.inner)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, and `printf abc | sha256sum`.
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn content_has_the_digest_that_others_compute() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), ABC);
        assert_eq!((digest.short().as_str(), digest.to_image_id().as_str()), ("ba7816bf8f01", ABC));
        assert_eq!(Digest::from(&digest.to_image_id()), digest);
        let mut reader = HashingReader::new(&b"abc"[..]);
        assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), 3);
        assert_eq!(reader.finish().0, digest);
    }

    #[test]
    fn only_whole_lower_case_sha256_is_a_digest() {
        let digest: Digest = ABC.parse().unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{ABC}\""));
        for bad in [
            "",
            "sha256:",
            &ABC[7..],
            &ABC.to_uppercase(),
            &format!("{ABC}0"),
            &ABC[..70],
            "sha512:00",
            &ABC.replace("ba", "/."),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
