//! One end of a copy, as the user writes it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use agentkernel_model::{BoxPath, SandboxName};

use super::CopyError;

/// How a path was written at its end, which the path itself no longer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathEnding {
    /// `/a/b`
    #[default]
    Plain,
    /// `/a/b/`: it must be a folder.
    Slash,
    /// `/a/b/.`: what is in the folder, not the folder itself.
    Contents,
}

impl PathEnding {
    /// Of a path as it was typed. `.` and `/` alone mean what is in them, too.
    pub fn of(text: &OsStr) -> Self {
        match text.as_bytes() {
            b"." | b"/" => Self::Contents,
            bytes if bytes.ends_with(b"/.") => Self::Contents,
            bytes if bytes.ends_with(b"/") => Self::Slash,
            _ => Self::Plain,
        }
    }
}

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyEnd {
    /// A path on this machine; its ending is read from the path as it was typed.
    Host(PathBuf),
    /// A path in a sandbox.
    Sandbox {
        /// Which.
        name: SandboxName,
        /// Where.
        path: BoxPath,
        /// How the path ended.
        ending: PathEnding,
    },
}

impl CopyEnd {
    /// `NAME:PATH` or a host path. As for `docker cp`, a host path with a colon is written with a leading `./` or `/`, and
    /// a relative path in a sandbox starts at its root.
    pub fn parse(text: &OsStr) -> Result<Self, CopyError> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(CopyError::EmptyPath);
        }
        if bytes == b"-" {
            return Err(CopyError::StandardStream);
        }
        let colon = bytes.iter().position(|byte| *byte == b':');
        let Some(colon) = colon.filter(|_| !matches!(bytes[0], b'.' | b'/')) else {
            return Ok(Self::Host(text.into()));
        };
        let name = String::from_utf8_lossy(&bytes[..colon]).parse()?;
        let inside = OsStr::from_bytes(&bytes[colon + 1..]);
        if inside.is_empty() {
            return Err(CopyError::EmptyPath);
        }
        let path = BoxPath::new(Path::new("/").join(inside))?;
        Ok(Self::Sandbox { name, path, ending: PathEnding::of(inside) })
    }

    /// For messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Host(path) => path.display().to_string(),
            Self::Sandbox { name, path, .. } => format!("{name}:{path}"),
        }
    }
}

/// The last component of a path inside a box; `None` for its root.
pub(crate) fn file_name(path: &BoxPath) -> Option<OsString> {
    path.as_path().file_name().map(OsStr::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart_as_docker_does() {
        let parse = |text: &str| CopyEnd::parse(OsStr::new(text));
        assert_eq!(parse("./a:b").unwrap(), CopyEnd::Host("./a:b".into()));
        assert_eq!(parse("plain").unwrap(), CopyEnd::Host("plain".into()));
        for (text, path, ending) in [
            ("box:/a/b", "/a/b", PathEnding::Plain),
            ("box:a/b/", "/a/b", PathEnding::Slash),
            ("box:/a/.", "/a", PathEnding::Contents),
            ("box:/", "/", PathEnding::Contents),
            ("box:a:b", "/a:b", PathEnding::Plain),
        ] {
            let want = CopyEnd::Sandbox { name: "box".parse().unwrap(), path: path.parse().unwrap(), ending };
            assert_eq!(parse(text).unwrap(), want, "{text}");
        }
        for bad in ["", "-", "box:", "box:../x", "b/x:/y", "-x:/y", ":/x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
