//! Owner, mode, extended attributes and time of what was made.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::entry_path::{EntryPath, c_string};
use super::folder::OVERLAY_XATTR_PREFIX;
use super::{Ownership, UnpackError};
use crate::tar::{Entry, ModifiedTime};

/// The highest owner that boxes have.
const ID_MAX: u64 = 65_535;

/// File capabilities: kept, and inert in a box, which never gives new privileges.
pub(crate) const CAPABILITY_XATTR: &[u8] = b"security.capability";

/// What an entry says of itself beside its content, checked.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    pub(crate) owner: Option<(Uid, Gid)>,
    pub(crate) mode: Mode,
    pub(crate) modified: ModifiedTime,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Attributes of the entry that are not taken.
    pub(crate) left_out: u64,
}

impl Attributes {
    /// Of a folder that no entry describes.
    pub(crate) fn of_unnamed_folder(ownership: Ownership) -> Self {
        let owner = match ownership {
            Ownership::Keep => Some((Uid::ROOT, Gid::ROOT)),
            Ownership::Ignore => None,
        };
        let modified = ModifiedTime::default();
        Self { owner, mode: Mode::from_raw_mode(0o755), modified, xattrs: Vec::new(), left_out: 0 }
    }

    pub(crate) fn of(path: &EntryPath, entry: &mut Entry, ownership: Ownership) -> Result<Self, UnpackError> {
        let refuse = || UnpackError::Owner { path: path.clone(), uid: entry.uid, gid: entry.gid };
        let owner = match ownership {
            Ownership::Ignore => None,
            Ownership::Keep => {
                let id = |id: u64| u32::try_from(id).ok().filter(|id| u64::from(*id) <= ID_MAX);
                let (uid, gid) = id(entry.uid).zip(id(entry.gid)).ok_or_else(refuse)?;
                Some((Uid::from_raw(uid), Gid::from_raw(gid)))
            }
        };
        let mut xattrs = std::mem::take(&mut entry.xattrs);
        let all = xattrs.len();
        xattrs.retain(|(name, _)| is_kept(name));
        let left_out = (all - xattrs.len()) as u64;
        let mode = Mode::from_raw_mode(entry.mode);
        Ok(Self { owner, mode, modified: entry.modified, xattrs, left_out })
    }

    /// To the file or folder that `handle` is open on; how many attributes its file system would not have.
    pub(crate) fn apply(&self, handle: BorrowedFd<'_>) -> Result<u64, Errno> {
        if let Some((uid, gid)) = self.owner {
            rustix::fs::fchown(handle, Some(uid), Some(gid))?;
        }
        // After the owner, whose change takes set-user-id bits and capabilities away (chown(2)).
        rustix::fs::fchmod(handle, self.mode)?;
        let mut refused = 0;
        for (name, value) in &self.xattrs {
            match rustix::fs::fsetxattr(handle, c_string(name), value, XattrFlags::empty()) {
                Ok(()) => {}
                // Not ours to give, not a capability, or not something that this file system has.
                Err(Errno::PERM | Errno::INVAL | Errno::NOTSUP | Errno::RANGE | Errno::TOOBIG) => {
                    refused += 1;
                }
                Err(errno) => return Err(errno),
            }
        }
        set_time(rustix::fs::futimens(handle, &self.times()))?;
        Ok(refused)
    }

    /// To the symbolic link or pipe `name` in `parent`, which was just made there.
    pub(crate) fn apply_at(&self, parent: &File, name: &std::ffi::CStr, is_link: bool) -> Result<(), Errno> {
        if let Some((uid, gid)) = self.owner {
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if !is_link {
            rustix::fs::chmodat(parent, name, self.mode, AtFlags::empty())?;
        }
        let times = self.times();
        set_time(rustix::fs::utimensat(parent.as_fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW))
    }

    fn times(&self) -> Timestamps {
        let ModifiedTime { seconds, nanoseconds } = self.modified;
        let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// `user.` attributes but overlayfs's own, which would let an image redirect lookups; and capabilities. All else is the
/// host's business.
fn is_kept(name: &[u8]) -> bool {
    let overlay = name.starts_with(OVERLAY_XATTR_PREFIX);
    let named = name.len() <= 255 && !name.contains(&0);
    named && ((name.starts_with(b"user.") && name.len() > 5 && !overlay) || name == CAPABILITY_XATTR)
}

/// A time that the file system can't hold is not worth a file.
fn set_time(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::INVAL | Errno::OVERFLOW | Errno::RANGE) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_attributes_are_kept() {
        for (name, kept) in [
            ("user.note", true),
            ("security.capability", true),
            ("user.", false),
            ("user.overlay.opaque", false),
            ("user.overlay.redirect", false),
            ("trusted.overlay.opaque", false),
            ("security.selinux", false),
            ("system.posix_acl_access", false),
            ("user.a\0b", false),
        ] {
            assert_eq!(is_kept(name.as_bytes()), kept, "{name}");
        }
    }
}
