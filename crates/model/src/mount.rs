//! Paths inside a box and folders of the host that are shown in it.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An absolute path inside a box, without `.` and `..` components and without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
#[schemars(with = "PathBuf")]
pub struct BoxPath(PathBuf);

/// Why a path can't name something inside a box.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a path inside a sandbox: {why}", path.display())]
pub struct BoxPathError {
    path: PathBuf,
    why: &'static str,
}

impl BoxPath {
    /// Checks `path`: absolute, no `..`, no NUL. Repeated slashes and `.` are folded.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, BoxPathError> {
        use std::os::unix::ffi::OsStrExt;
        let path = path.as_ref();
        let fail = |why| Err(BoxPathError { path: path.to_owned(), why });
        if !path.is_absolute() {
            return fail("it must be absolute");
        }
        if path.as_os_str().as_bytes().contains(&0) {
            return fail("it holds a NUL byte");
        }
        if path.as_os_str().len() > 4095 {
            return fail("it is longer than 4095 bytes");
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return fail("it must not contain '..'");
        }
        Ok(Self(path.components().collect()))
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<PathBuf> for BoxPath {
    type Error = BoxPathError;
    fn try_from(path: PathBuf) -> Result<Self, BoxPathError> {
        Self::new(path)
    }
}

impl FromStr for BoxPath {
    type Err = BoxPathError;
    fn from_str(text: &str) -> Result<Self, BoxPathError> {
        Self::new(text)
    }
}

impl From<BoxPath> for PathBuf {
    fn from(path: BoxPath) -> PathBuf {
        path.0
    }
}

impl fmt::Display for BoxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Whether a box may change what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Reading only; enforced by the kernel.
    #[serde(rename = "ro")]
    ReadOnly,
    /// Reading and writing.
    #[serde(rename = "rw")]
    ReadWrite,
}

/// A host file or folder shown inside the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Where the box sees it.
    pub target: BoxPath,
    /// What the box may do with it.
    pub access: Access,
}

/// Why a text is not a mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// Not of the form `host:box[:ro|:rw]`.
    #[error("mount {text:?} is not of the form HOST:BOX, HOST:BOX:ro or HOST:BOX:rw")]
    Form {
        /// What was given.
        text: String,
    },
    /// The box side is not an absolute path.
    #[error("mount {text:?}: {source}")]
    Target {
        /// What was given.
        text: String,
        /// Why.
        source: BoxPathError,
    },
}

impl FromStr for Mount {
    type Err = MountError;
    /// `host:box[:ro|:rw]`. The host side is kept as written; who resolves it makes it absolute.
    fn from_str(text: &str) -> Result<Self, MountError> {
        let form = || MountError::Form { text: text.to_owned() };
        let (rest, access) = match text.rsplit_once(':') {
            Some((rest, "ro")) => (rest, Access::ReadOnly),
            Some((rest, "rw")) => (rest, Access::ReadWrite),
            _ => (text, Access::ReadWrite),
        };
        let (source, target) = rest.split_once(':').ok_or_else(form)?;
        if source.is_empty() || target.is_empty() || target.contains(':') {
            return Err(form());
        }
        let target =
            BoxPath::new(target).map_err(|source| MountError::Target { text: text.to_owned(), source })?;
        Ok(Self { source: source.into(), target, access })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mounts_parse_as_docker_spells_them() {
        let mount: Mount = "/src:/work:ro".parse().unwrap();
        assert_eq!((mount.source.to_str(), mount.access), (Some("/src"), Access::ReadOnly));
        for bad in ["", "/a", ":/b", "/a:", "/a:b", "/a:/b:rx", "/a:/b/../c"] {
            assert!(bad.parse::<Mount>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_box_path_never_climbs(text in "[/.a]{0,20}") {
            if let Ok(path) = BoxPath::new(&text) {
                prop_assert!(path.as_path().is_absolute());
                prop_assert!(path.as_path().components().all(|c| matches!(c, Component::RootDir | Component::Normal(_))));
            }
        }
    }
}
