//! The records of a pax extended header (pax(1)): `LENGTH KEY=VALUE\n`, again and again.

use super::ArchiveError;

/// What the records say that matters here. All else (owners, access times, attributes) is left aside on purpose.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) modified: Option<i64>,
    /// A sparse file in GNU's manner: its data is not its content.
    pub(crate) sparse: bool,
}

impl Pax {
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self, ArchiveError> {
        let damaged = ArchiveError::Header { what: "a pax record is damaged" };
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let Some((key, value, rest)) = record(bytes) else { return Err(damaged) };
            bytes = rest;
            match key {
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.link = Some(value.to_vec()),
                b"size" => {
                    pax.size =
                        Some(decimal(value).ok_or(ArchiveError::Header { what: "a pax size is no number" })?)
                }
                // Fractions of a second are dropped; a time that can't be read is no reason to lose the file.
                b"mtime" => pax.modified = whole_seconds(value),
                key if key.starts_with(b"GNU.sparse.") => pax.sparse = true,
                _ => {}
            }
        }
        Ok(pax)
    }

    /// Whether it changes names or sizes: for a global header that would reach entries it doesn't stand before.
    pub(crate) fn reshapes(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some() || self.sparse
    }
}

/// Key, value and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &bytes[length..]))
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn whole_seconds(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_read() {
        let pax = Pax::parse(b"12 path=a/b\n18 mtime=12345.678\n11 size=42\n23 SCHILY.xattr.x=hello\n");
        // The last record states one byte too many and is refused as a whole.
        assert!(pax.is_err());
        let pax = Pax::parse(b"12 path=a/b\n19 mtime=12345.678\n11 size=42\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!((pax.size, pax.modified), (Some(42), Some(12345)));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for bad in [
            &b"5 a=b\n"[..],
            b"99 path=a\n",
            b"0 path=a\n",
            b"18446744073709551615 a=b\n",
            b" a=b\n",
            b"7 a=bcd",
        ] {
            assert!(Pax::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Pax::parse(&bytes));
        }
    }
}
