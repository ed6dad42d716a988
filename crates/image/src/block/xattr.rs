//! Extended attributes as the format keeps them beside an inode.

use std::collections::BTreeMap;

use crate::unpack::CAPABILITY_XATTR;

/// Names are kept without what most begin with (erofs_fs.h, `EROFS_XATTR_INDEX_*`). Those that stand for a whole name
/// come first.
const PREFIXES: [(u8, &[u8]); 5] = [
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (1, b"user."),
    (4, b"trusted."),
    (6, b"security."),
];

/// A filter that is not used, a count of shared attributes, which are none, and what is reserved.
const HEADER_BYTES: usize = 12;

/// An inode says in 16 bits how many units of 4 bytes follow the header, plus one.
const BYTES_MAX: usize = HEADER_BYTES + 4 * (u16::MAX as usize - 1);

/// Attributes as they follow an inode, empty for none; and how many could not be had. Of one name the last counts.
pub(crate) fn encode(xattrs: &[(Vec<u8>, Vec<u8>)]) -> (Box<[u8]>, u64) {
    let by_name: BTreeMap<&[u8], &[u8]> =
        xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    let mut left_out = 0;
    let mut bytes = Vec::new();
    for (name, value) in by_name {
        match entry(name, value) {
            Some(entry) if bytes.len().max(HEADER_BYTES) + entry.len() <= BYTES_MAX => {
                bytes.resize(bytes.len().max(HEADER_BYTES), 0);
                bytes.extend_from_slice(&entry);
            }
            _ => left_out += 1,
        }
    }
    (bytes.into(), left_out)
}

/// What an inode says of attributes that take `bytes`.
pub(crate) fn count(bytes: usize) -> u16 {
    match bytes {
        0 => 0,
        bytes => u16::try_from((bytes - HEADER_BYTES) / 4 + 1).unwrap_or(u16::MAX),
    }
}

fn entry(name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    if name == CAPABILITY_XATTR && !is_capability(value) {
        return None;
    }
    let (index, rest) = PREFIXES.iter().find_map(|(index, prefix)| {
        let rest = name.strip_prefix(*prefix)?;
        (rest.is_empty() != prefix.ends_with(b".")).then_some((*index, rest))
    })?;
    let mut entry = vec![u8::try_from(rest.len()).ok()?, index];
    entry.extend_from_slice(&u16::try_from(value.len()).ok()?.to_le_bytes());
    entry.extend_from_slice(rest);
    entry.extend_from_slice(value);
    entry.resize(entry.len().next_multiple_of(4), 0);
    Some(entry)
}

/// What the kernel takes as file capabilities when they are set (linux/capability.h, `vfs_cap_data`, revisions 2 and 3).
/// A file with others could not be executed.
fn is_capability(value: &[u8]) -> bool {
    matches!((value.len(), value.get(3)), (20, Some(2)) | (24, Some(3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(xattrs: &[(&str, &[u8])]) -> (Vec<u8>, u64) {
        let xattrs: Vec<_> =
            xattrs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
        let (bytes, left_out) = encode(&xattrs);
        (bytes.into(), left_out)
    }

    #[test]
    fn attributes_are_kept_as_the_format_has_them() {
        assert_eq!(encoded(&[]), (Vec::new(), 0));
        let (bytes, left_out) = encoded(&[("user.note", b"abc"), ("user.a", b"old"), ("user.a", b"")]);
        let expected = [&[0; 12][..], b"\x01\x01\x00\x00a\0\0\0", b"\x04\x01\x03\x00noteabc\0"].concat();
        assert_eq!((bytes.as_slice(), left_out), (&expected[..], 0));
        assert_eq!((count(bytes.len()), count(0)), (6, 0));
        for (name, index, rest) in [
            ("trusted.x", 4, "x"),
            ("security.x", 6, "x"),
            ("system.posix_acl_access", 2, ""),
            ("system.posix_acl_default", 3, ""),
        ] {
            let (bytes, _) = encoded(&[(name, b"")]);
            assert_eq!(&bytes[12..16], [rest.len() as u8, index, 0, 0], "{name}");
        }
    }

    #[test]
    fn what_the_format_or_the_kernel_does_not_take_is_left_out() {
        assert_eq!(encoded(&[("user.", b""), ("other.x", b""), ("system.posix_acl_accessx", b"")]).1, 3);
        assert_eq!(encoded(&[("user.big", &[0; 65_536])]), (Vec::new(), 1));
        assert_eq!(encoded(&[("security.capability", b"nonsense")]), (Vec::new(), 1));
        let revision_2 = [&[1, 0, 0, 2][..], &[0; 16]].concat();
        assert_eq!(encoded(&[("security.capability", &revision_2)]).1, 0);
        let names: Vec<String> = (0..5).map(|number| format!("user.{number}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), &[7u8; 65_000][..])).collect();
        let (bytes, left_out) = encoded(&many);
        assert_eq!((bytes.len(), left_out), (12 + 4 * 65_008, 1), "as many as an inode can count");
    }
}
