//! The folder in which sandboxes are kept.

use std::path::Path;

use agentkernel_store::Store;

use super::Check;
use crate::output::describe;

/// Room below which a sandbox hardly fits.
const LOW_SPACE_BYTES: u64 = 256 << 20;

/// Whether sandboxes can be recorded and have room. Makes the folder, as any other verb would.
pub(super) fn writable(dir: &Path) -> Check {
    let id = "state";
    if let Err(error) = Store::open(dir) {
        return Check::fail(
            id,
            describe(&error),
            "make the folder writable, or give another with --state-dir PATH",
        );
    }
    if let Err(error) = tempfile_like(dir) {
        return Check::fail(
            id,
            format!("{} can't be written: {error}", dir.display()),
            "make the folder writable, or give another with --state-dir PATH",
        );
    }
    match rustix::fs::statvfs(dir) {
        Ok(room) if room.f_bavail.saturating_mul(room.f_frsize) < LOW_SPACE_BYTES => Check::warn(
            id,
            format!("{} has less than {} MiB left", dir.display(), LOW_SPACE_BYTES >> 20),
            "make room there, or give another folder with --state-dir PATH",
        ),
        _ => Check::ok(id, format!("sandboxes are kept in {}", dir.display())),
    }
}

/// Writes and removes a file without a name that others could see.
fn tempfile_like(dir: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        // The file system has no nameless files; that the store could be opened must do.
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        result => result?,
    };
    rustix::io::write(&file, b"doctor")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_file_in_the_way_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        assert_ne!(writable(dir.path()).status, Status::Fail);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(writable(&file).status, Status::Fail);
    }
}
