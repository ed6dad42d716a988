//! From paths to descriptors.

use std::os::fd::OwnedFd;

use agentkernel_protocol::{Failure, FailureKind};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::failure::{failure, system};

/// The most symbolic links that a file's last component may be followed through (as the kernel has it, path_resolution(7)).
const MAX_LINKS: usize = 40;

/// How often the kernel is asked again before a path counts as busy: somebody inside may rename without end.
const MAX_TRIES: usize = 10_000;

/// Opens below `base` as `resolve` has it. Any rename or mount on the machine may make the kernel unsure of a `..` or a
/// link that it just followed; it then asks for another try (openat2(2), EAGAIN).
pub(super) fn open_below(
    base: &OwnedFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    let mut last = Errno::AGAIN;
    for _ in 0..MAX_TRIES {
        match rustix::fs::openat2(base, path, flags, Mode::empty(), resolve) {
            Err(again @ (Errno::AGAIN | Errno::INTR)) => last = again,
            other => return other,
        }
    }
    Err(last)
}

/// For people.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Opens an absolute path within the box's root.
pub(super) fn open(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let root =
        rustix::fs::openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    open_below(&root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// A folder for the `*at` calls.
pub(super) fn open_folder(path: &[u8]) -> Result<OwnedFd, Errno> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)
}

/// The folder of a path, and its last component. The root has none.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    let path = path.get(..end)?;
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    Some((path.get(..slash + 1)?, path.get(slash + 1..)?))
}

/// The folder of a path, opened, and its last component.
pub(super) fn parent(path: &[u8]) -> Result<(OwnedFd, &[u8]), Failure> {
    let is_root = || failure(FailureKind::Invalid, "/ is the root of the sandbox");
    let (folder, name) = split(path).ok_or_else(is_root)?;
    let folder = open_folder(folder).map_err(|error| system("", error)).map_err(trim)?;
    Ok((folder, name))
}

/// [`system`] without a name: the host knows what it asked for.
pub(super) fn plain(error: Errno) -> Failure {
    trim(system("", error))
}

fn trim(mut failure: Failure) -> Failure {
    failure.why = failure.why.trim_start_matches(": ").to_owned();
    failure
}

/// Where a path leads when its last component is a symbolic link: another path, which is no link or isn't there.
pub(super) fn follow(path: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut path = path.to_vec();
    for _ in 0..MAX_LINKS {
        let (folder, name) = parent(&path)?;
        match rustix::fs::readlinkat(&folder, name, Vec::new()) {
            Ok(target) => {
                let target = target.as_bytes();
                let (base, _) = split(&path).unwrap_or((b"/", b""));
                path = if target.starts_with(b"/") { target.to_vec() } else { [base, target].concat() };
            }
            Err(Errno::INVAL | Errno::NOENT) => return Ok(path),
            Err(error) => return Err(plain(error)),
        }
    }
    Err(plain(Errno::LOOP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_their_last_component() {
        assert_eq!(split(b"/a/b"), Some((&b"/a/"[..], &b"b"[..])));
        assert_eq!(split(b"/a"), Some((&b"/"[..], &b"a"[..])));
        assert_eq!(split(b"/a/b//"), Some((&b"/a/"[..], &b"b"[..])));
        assert_eq!(split(b"/"), None);
        assert_eq!(split(b""), None);
    }

    #[test]
    fn somebody_else_s_renames_don_t_disturb() {
        let folder = std::env::temp_dir().join(format!("agentkernel-agent-renames-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("a")).unwrap();
        std::fs::write(folder.join("f"), "").unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (one, other) = (folder.join("one"), folder.join("other"));
                std::fs::write(&one, "").unwrap();
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::rename(&one, &other).unwrap();
                    std::fs::rename(&other, &one).unwrap();
                }
            });
            let path = folder.join("a/../a/../a/../f").into_os_string().into_encoded_bytes();
            let failed = (0..20_000).find_map(|_| open(&path, OFlags::RDONLY).err());
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(failed, None);
        });
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn magic_links_lead_nowhere() {
        assert_eq!(open(b"/proc/self/exe", OFlags::RDONLY).err(), Some(Errno::LOOP));
        assert!(open(b"/proc/self/stat", OFlags::RDONLY).is_ok());
    }
}
