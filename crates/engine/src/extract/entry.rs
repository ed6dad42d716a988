//! One entry of a stream, checked.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use super::{ArchiveError, Limits};

/// A relative path without `.`, `..`, empty or overlong components, and without NUL. Empty for the root of the stream.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EntryPath(Vec<u8>);

impl EntryPath {
    /// The root of a stream.
    pub const ROOT: Self = Self(Vec::new());

    /// Checks the bytes of a path; `./` and a trailing slash are dropped.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, ArchiveError> {
        let refuse = |why| Err(ArchiveError::Path { path: shortened(bytes), why });
        if bytes.is_empty() {
            return refuse("it is empty");
        }
        if bytes.len() > limits.path_bytes {
            return refuse("it is too long");
        }
        if bytes[0] == b'/' {
            return refuse("it is absolute");
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
                part if part.len() > 255 => return refuse("a name in it is longer than 255 bytes"),
                part => {
                    if depth > 0 {
                        path.push(b'/');
                    }
                    path.extend_from_slice(part);
                    depth += 1;
                }
            }
        }
        if depth > limits.depth {
            return refuse("it is nested too deep");
        }
        Ok(Self(path))
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, components parted by single slashes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folder it is in, and its name; `None` for the root.
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => Some((Self(self.0[..slash].to_vec()), &self.0[slash + 1..])),
            None => Some((Self::ROOT, &self.0)),
        }
    }

    /// Its first component and the rest.
    pub(crate) fn split_first(&self) -> Option<(&[u8], Self)> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().position(|byte| *byte == b'/') {
            Some(slash) => Some((&self.0[..slash], Self(self.0[slash + 1..].to_vec()))),
            None => Some((&self.0, Self::ROOT)),
        }
    }

    /// `self` below the folder `name`, which is one valid component.
    pub(crate) fn below(&self, name: &[u8]) -> Self {
        let mut path = name.to_vec();
        if !self.is_root() {
            path.push(b'/');
            path.extend_from_slice(&self.0);
        }
        Self(path)
    }

    /// Its components, outermost first.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }
}

/// For system calls; a checked path holds no NUL.
pub(crate) fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}

/// For messages: what a box wrote, made harmless for a terminal by `Debug` and cut.
pub(crate) fn shortened(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

impl fmt::Display for EntryPath {
    /// Quoted and escaped: the name comes from a box and may hold control characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", OsStr::from_bytes(&self.0))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file of so many bytes, which follow.
    File {
        /// Its size.
        size: u64,
    },
    /// A folder.
    Directory,
    /// A symbolic link; the text is never followed.
    Symlink {
        /// What it says, without NUL, 1 to 4095 bytes.
        target: Vec<u8>,
    },
    /// Another name for a file of the same stream.
    HardLink {
        /// That file.
        target: EntryPath,
    },
    /// A device or named pipe: to be left out.
    Special,
}

/// One checked entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes.
    pub path: EntryPath,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, 0o777 at most: set-user-id, set-group-id and sticky are gone.
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: i64,
}
