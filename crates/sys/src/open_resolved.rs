//! Opening by openat2(2), again where the kernel asks for it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// How often the kernel is asked again: somebody may rename without end.
const MAX_TRIES: usize = 10_000;

/// Opens `path` below `folder` as `resolve` has it; makes nothing. Any rename or mount on the machine can leave the kernel
/// unsure of a step that it just took: it then asks for another try (openat2(2), EAGAIN), which is no error of the path.
/// Child-safe where `path` is a `CStr`. Errors: those of openat2(2); EAGAIN and EINTR only where that went on and on.
pub fn open_resolved(
    folder: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut last = Errno::AGAIN;
    for _ in 0..MAX_TRIES {
        match rustix::fs::openat2(folder.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(again @ (Errno::AGAIN | Errno::INTR)) => last = again,
            other => return other,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn somebody_else_s_renames_don_t_disturb() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("one"), "").unwrap();
        let over = AtomicBool::new(false);
        let root = std::fs::File::open(folder.path()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (one, other) = (folder.path().join("one"), folder.path().join("other"));
                while !over.load(Ordering::Relaxed) {
                    std::fs::rename(&one, &other).unwrap();
                    std::fs::rename(&other, &one).unwrap();
                }
            });
            let open = || open_resolved(&root, c"a/../a/../a", OFlags::RDONLY, ResolveFlags::BENEATH);
            let failed = (0..20_000).find_map(|_| open().err());
            over.store(true, Ordering::Relaxed);
            assert_eq!(failed, None);
        });
    }
}
