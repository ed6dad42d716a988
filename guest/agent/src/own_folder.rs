//! Folders of the agent's own in the box: root of the box may look into them, nobody else; what they are in, anybody may.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

/// Makes `path`, and its parents, through which the relay finds its way as nobody; fine if it is there.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes and opens `path`; a link that an earlier command has left there is not followed.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    make(path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("a/b");
        open(&own).unwrap();
        open(&own).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert!(open(&link).is_err());
    }
}
