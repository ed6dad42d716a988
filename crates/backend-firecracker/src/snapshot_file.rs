//! Files that a VMM has written of itself. Should its guest have taken it over, they are hostile: what is no file of its own
//! is refused, and nothing but reading is left to do with them.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Gid, OFlags, Uid};

use crate::removal::missing_is_fine;
use crate::sparse;
use crate::vmm::SnapshotFiles;

/// Who may read it: each machine runs as another user, and the folders above let none of them in.
const MODE: u32 = 0o444;

/// Moves `from`, in a machine's folder, to `to`, which must not be there: it belongs to this user from then on, and only
/// what is returned can still write it.
pub(crate) fn adopt(from: &Path, to: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).write(true).custom_flags(flags.bits() as i32).open(from)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() != 1 {
        return Err(io::Error::other(format!("{} is not a file of the machine's own", from.display())));
    }
    match rustix::fs::renameat_with(
        rustix::fs::CWD,
        from,
        rustix::fs::CWD,
        to,
        rustix::fs::RenameFlags::NOREPLACE,
    ) {
        Ok(()) => {}
        Err(rustix::io::Errno::XDEV) => {
            sparse::copy(from, to)?;
            std::fs::remove_file(from)?;
        }
        Err(errno) => return Err(errno.into()),
    }
    // What was looked at is what was moved: else it is refused.
    let file = match std::fs::symlink_metadata(to)? {
        there if (there.dev(), there.ino()) == (meta.dev(), meta.ino()) => file,
        there if there.is_file() && there.dev() != meta.dev() => {
            File::options().read(true).write(true).open(to)?
        }
        _ => {
            std::fs::remove_file(to)?;
            return Err(io::Error::other(format!("{} was replaced while it was moved", from.display())));
        }
    };
    if rustix::process::geteuid().is_root() {
        rustix::fs::fchown(&file, Some(Uid::ROOT), Some(Gid::ROOT))?;
    }
    file.set_permissions(Permissions::from_mode(MODE))?;
    Ok(file)
}

/// Takes away what of `taken` was not adopted: it is as large as the machine's memory.
pub(crate) fn discard(taken: &SnapshotFiles) {
    for path in [&taken.state, &taken.memory] {
        if let Err(error) = missing_is_fine(std::fs::remove_file(path)) {
            tracing::warn!(%error, path = %path.display(), "part of a snapshot that failed was left behind");
        }
    }
}

/// One that was moved before, to write it: what others read stays the same.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // An ordinary user's own file says no to its owner too.
    std::fs::set_permissions(path, Permissions::from_mode(MODE | 0o200))?;
    let file = File::options().read(true).write(true).open(path);
    std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_file_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(path("secret"), path("link")).unwrap();
        std::fs::hard_link(path("secret"), path("hard")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), 0o600.into()).unwrap();
        for bad in ["link", "hard", "pipe", "none"] {
            assert!(adopt(&path(bad), &path("to")).is_err(), "{bad}");
            assert!(!path("to").exists(), "{bad}");
        }
        std::fs::write(path("good"), "good").unwrap();
        adopt(&path("good"), &path("to")).unwrap();
        assert!(!path("good").exists());
        let meta = std::fs::metadata(path("to")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.len()), (MODE, 4));
        std::fs::write(path("good"), "other").unwrap();
        assert!(adopt(&path("good"), &path("to")).is_err(), "nothing is overwritten");
        assert_eq!(std::fs::read(path("to")).unwrap(), b"good");
    }
}
