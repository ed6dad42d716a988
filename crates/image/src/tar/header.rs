//! One 512-byte header: POSIX ustar (pax(1)), what GNU tar writes instead, and the old form before both.

use super::TarError;

/// The unit of a tar stream.
pub(crate) const BLOCK_BYTES: usize = 512;

/// The fields of a header, unchecked but for their form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) modified: i64,
}

impl Header {
    /// `None` for a block of zeros, which marks the end.
    pub(crate) fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Option<Self>, TarError> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let damaged = |what| TarError::Header { what };
        let stated = octal(&block[148..156]).ok_or(damaged("its checksum is no number"))?;
        // The sum of all bytes, the checksum's own field counted as spaces (pax(1), "ustar Interchange Format").
        let field: u64 = block[148..156].iter().map(|byte| u64::from(*byte)).sum();
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum::<u64>() - field + 8 * u64::from(b' ');
        if sum != stated {
            return Err(damaged("its checksum is wrong"));
        }
        let unsigned = |field: &[u8], what| {
            number(field).and_then(|value| u64::try_from(value).ok()).ok_or(damaged(what))
        };
        let mode = octal(&block[100..108]).ok_or(damaged("its mode is no number"))?;
        let name = text(&block[0..100]);
        // GNU tar uses the prefix field for other things, and says so in the magic.
        let prefix = if &block[257..265] == b"ustar\x0000" { text(&block[345..500]) } else { &[] };
        Ok(Some(Self {
            kind: block[156],
            path: if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() },
            link: text(&block[157..257]).to_vec(),
            mode: (mode & 0o7777) as u32,
            uid: unsigned(&block[108..116], "its owner is no number")?,
            gid: unsigned(&block[116..124], "its group is no number")?,
            size: unsigned(&block[124..136], "its size is no number")?,
            modified: number(&block[136..148]).ok_or(damaged("its time is no number"))?,
        }))
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits, led by spaces and ended by a space, a NUL or the field's end. An empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let mut value = 0u64;
    for byte in &field[start..] {
        match byte {
            b'0'..=b'7' => value = value.checked_mul(8)?.checked_add(u64::from(byte - b'0'))?,
            b' ' | 0 => break,
            _ => return None,
        }
    }
    Some(value)
}

/// Octal, or GNU's big-endian binary where the first bit is set.
fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        return i64::try_from(octal(field)?).ok();
    }
    // The second bit is the sign; the value must fit into 64 bits.
    let negative = first & 0x40 != 0;
    let start = if negative { i128::from(first) - 256 } else { i128::from(first & 0x7f) };
    let value = field[1..]
        .iter()
        .try_fold(start, |value, byte| value.checked_mul(256)?.checked_add(i128::from(*byte)))?;
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"00000000644\0"), Some(0o644));
        assert_eq!(number(b"      17 \0\0\0"), Some(0o17));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(1 << 33));
        assert_eq!(number(b"\x80\0\0\0\0\x01\0\0"), Some(1 << 16));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(number(b"0000000009x\0"), None);
        assert_eq!(octal(b"        "), Some(0));
    }

    proptest! {
        #[test]
        fn any_block_is_parsed_or_refused(block in proptest::collection::vec(any::<u8>(), BLOCK_BYTES)) {
            let block: [u8; BLOCK_BYTES] = block.try_into().unwrap();
            if let Ok(Some(header)) = Header::parse(&block) {
                prop_assert!(header.mode <= 0o7777);
            }
        }
    }
}
