//! The records of a pax extended header (pax(1)): `LENGTH KEY=VALUE\n`, again and again.

use super::{ModifiedTime, TarError};

/// An attribute: name and value.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// How tar programs spell extended attributes (star, GNU tar, Go).
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What the records say that matters here.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) modified: Option<ModifiedTime>,
    pub(crate) xattrs: Vec<Xattr>,
    /// A sparse file in GNU's manner: its data is not its content.
    pub(crate) sparse: bool,
}

impl Pax {
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self, TarError> {
        let damaged = |what| TarError::Header { what };
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let Some((key, value, rest)) = record(bytes) else {
                return Err(damaged("a pax record is damaged"));
            };
            bytes = rest;
            match key {
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.link = Some(value.to_vec()),
                b"size" => pax.size = Some(decimal(value).ok_or(damaged("a pax size is no number"))?),
                b"uid" => pax.uid = Some(decimal(value).ok_or(damaged("a pax owner is no number"))?),
                b"gid" => pax.gid = Some(decimal(value).ok_or(damaged("a pax group is no number"))?),
                // A time that can't be read is no reason to lose the file.
                b"mtime" => pax.modified = time(value),
                key if key.starts_with(b"GNU.sparse.") => pax.sparse = true,
                key => {
                    if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                        pax.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(pax)
    }

    /// Whether it changes what entries are: for a global header that would reach entries it doesn't stand before.
    pub(crate) fn reshapes(&self) -> bool {
        let Self { path, link, size, uid, gid, modified: _, xattrs, sparse } = self;
        path.is_some()
            || link.is_some()
            || size.is_some()
            || uid.is_some()
            || gid.is_some()
            || !xattrs.is_empty()
            || *sparse
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

/// Seconds with a fraction: `-1.25` is 750 million nanoseconds after second -2.
fn time(text: &[u8]) -> Option<ModifiedTime> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{:0<9}", &fraction[..fraction.len().min(9)]);
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(ModifiedTime {
            seconds: seconds.checked_sub(1)?,
            nanoseconds: 1_000_000_000 - nanoseconds,
        });
    }
    Some(ModifiedTime { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_read() {
        let pax = Pax::parse(
            b"12 path=a/b\n19 mtime=12345.678\n11 size=42\n12 uid=1000\n24 SCHILY.xattr.x=a=\nbc\n",
        );
        let pax = pax.unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!((pax.size, pax.uid, pax.gid), (Some(42), Some(1000), None));
        assert_eq!(pax.modified, Some(ModifiedTime { seconds: 12345, nanoseconds: 678_000_000 }));
        assert_eq!(pax.xattrs, [(b"x".to_vec(), b"a=\nbc".to_vec())], "a value may hold anything");
        assert!(pax.reshapes());
    }

    #[test]
    fn times_before_1970_keep_their_fraction() {
        assert_eq!(time(b"-1.25"), Some(ModifiedTime { seconds: -2, nanoseconds: 750_000_000 }));
        assert_eq!(time(b"-3"), Some(ModifiedTime { seconds: -3, nanoseconds: 0 }));
        assert_eq!(time(b"1.0000000019"), Some(ModifiedTime { seconds: 1, nanoseconds: 1 }));
        assert_eq!((time(b"1.x"), time(b""), time(b"1.-5")), (None, None, None));
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
