//! Paths of entries, checked.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use super::UnpackError;
use crate::tar::shortened;

/// Longest path that system calls take, without the ending NUL (`PATH_MAX`, limits.h).
const PATH_BYTES_MAX: usize = 4095;

/// Longest name in a folder (`NAME_MAX`, limits.h).
const NAME_BYTES_MAX: usize = 255;

/// A path below the layer's root without `.`, `..`, empty or overlong components, and without NUL. Empty for the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Checks the bytes of a path. `/a`, `./a` and `a/` are `a`, as Docker has it; `..` is refused wherever it leads.
    pub(crate) fn parse(bytes: &[u8], depth_max: usize) -> Result<Self, UnpackError> {
        let refuse = |why| Err(UnpackError::Path { path: shortened(bytes), why });
        if bytes.is_empty() {
            return refuse("it is empty");
        }
        if bytes.len() > PATH_BYTES_MAX {
            return refuse("it is longer than 4095 bytes");
        }
        if bytes.contains(&0) {
            return refuse("it holds a NUL byte");
        }
        let mut path = Vec::with_capacity(bytes.len());
        let mut depth = 0;
        for part in bytes.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return refuse("it climbs with '..'"),
                part if part.len() > NAME_BYTES_MAX => {
                    return refuse("a name in it is longer than 255 bytes");
                }
                part => {
                    if depth > 0 {
                        path.push(b'/');
                    }
                    path.extend_from_slice(part);
                    depth += 1;
                }
            }
        }
        if depth > depth_max {
            return refuse("it is nested too deep");
        }
        Ok(Self(path))
    }

    /// Whether it is the root.
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, components parted by single slashes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folder it is in, and its name; `None` for the root.
    pub(crate) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => Some((&self.0[..slash], &self.0[slash + 1..])),
            None => Some((&[], &self.0)),
        }
    }

    /// The sibling called `name`, one valid component.
    pub(crate) fn with_name(&self, name: &[u8]) -> Self {
        self.parent().join(name)
    }

    /// The folder it is in; the root for the root.
    pub(crate) fn parent(&self) -> Self {
        Self(self.split().map_or(&[][..], |(parent, _)| parent).to_vec())
    }

    /// `name`, one valid component, in the folder `self`.
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        let mut path = self.0.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path)
    }

    /// In the order of paths: the first that could lie below `self`, and the first behind all those.
    pub(crate) fn bounds_below(&self) -> (Self, Self) {
        // '0' is the byte behind '/'.
        let with = |last: &[u8]| Self([&self.0, last].concat());
        (with(b"/"), with(b"0"))
    }

    /// Its components, outermost first.
    pub(crate) fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }
}

/// For system calls; a checked path holds no NUL.
pub(crate) fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}

impl fmt::Debug for EntryPath {
    /// Quoted and escaped: the name comes from a stranger and may hold control characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", OsStr::from_bytes(&self.0[..self.0.len().min(200)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &[u8]) -> Option<Vec<u8>> {
        EntryPath::parse(text, 8).ok().map(|path| path.as_bytes().to_vec())
    }

    #[test]
    fn paths_stay_below_the_root() {
        for (text, expected) in [
            (&b"a/b"[..], &b"a/b"[..]),
            (b"./a//b/", b"a/b"),
            (b"/etc/passwd", b"etc/passwd"),
            (b"./", b""),
            (b"/", b""),
            (b"...", b"..."),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(expected));
        }
        for bad in [&b""[..], b"..", b"a/../b", b"/..", b"a\0b", b"1/2/3/4/5/6/7/8/9", &[b'x'; 256]] {
            assert_eq!(parsed(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(parsed(&[b'/'; 4096]), None);
        let path = EntryPath::parse(b"a/b/c", 8).unwrap();
        assert_eq!(path.with_name(b"d").as_bytes(), b"a/b/d");
        assert_eq!(path.parent().as_bytes(), b"a/b");
        assert_eq!(EntryPath::parse(b"a", 8).unwrap().with_name(b"d").as_bytes(), b"d");
    }

    proptest! {
        #[test]
        fn no_component_is_special(bytes in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..60)) {
            if let Ok(path) = EntryPath::parse(&bytes, 512) {
                prop_assert!(path.components().all(|part| part != b"." && part != b".." && !part.contains(&0)));
                prop_assert_eq!(path.components().collect::<Vec<_>>().join(&b'/'), path.as_bytes());
            }
        }
    }
}
