//! What is told of a file, and whose it is inside.

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::wire::Answer;

/// Who everybody else is inside: nobody (user_namespaces(7), overflow ids).
const NOBODY: u32 = 65_534;

/// As utimensat(2) has them.
pub(crate) type Nanoseconds = rustix::fs::Nsecs;

/// How long the guest may believe what it was told: not at all, since the host may change it at any moment.
const BELIEVED: u64 = 0;

/// Whose files are root's inside: those of whom this process is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    pub(crate) fn current() -> Self {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        Self { user: user.as_raw(), group: group.as_raw() }
    }

    /// The user inside that `stat`'s is.
    pub(crate) fn user_inside(self, stat: &Stat) -> u32 {
        if stat.st_uid == self.user { 0 } else { NOBODY }
    }

    /// The group inside that `stat`'s is.
    pub(crate) fn group_inside(self, stat: &Stat) -> u32 {
        if stat.st_gid == self.group { 0 } else { NOBODY }
    }
}

/// `struct fuse_attr`.
pub(crate) fn write(answer: &mut Answer, stat: &Stat, owner: Owner) {
    let seconds = |seconds: i64| seconds as u64;
    let nanoseconds = |nanoseconds: u64| u32::try_from(nanoseconds).unwrap_or(0);
    answer.u64(stat.st_ino);
    answer.u64(u64::try_from(stat.st_size).unwrap_or(0));
    answer.u64(u64::try_from(stat.st_blocks).unwrap_or(0));
    answer.u64(seconds(stat.st_atime));
    answer.u64(seconds(stat.st_mtime));
    answer.u64(seconds(stat.st_ctime));
    answer.u32(nanoseconds(stat.st_atime_nsec));
    answer.u32(nanoseconds(stat.st_mtime_nsec));
    answer.u32(nanoseconds(stat.st_ctime_nsec));
    answer.u32(stat.st_mode);
    answer.u32(u32::try_from(stat.st_nlink).unwrap_or(u32::MAX));
    answer.u32(owner.user_inside(stat));
    answer.u32(owner.group_inside(stat));
    // A device is none inside.
    answer.u32(0);
    answer.u32(u32::try_from(stat.st_blksize).unwrap_or(4096));
    answer.u32(0);
}

/// `struct fuse_attr_out`.
pub(crate) fn write_believed(answer: &mut Answer, stat: &Stat, owner: Owner) {
    answer.u64(BELIEVED);
    answer.u64(0);
    write(answer, stat, owner);
}

/// `struct fuse_entry_out`.
pub(crate) fn write_entry(answer: &mut Answer, node: u64, stat: &Stat, owner: Owner) {
    answer.u64(node);
    // Numbers of nodes are never used again, so that one generation is enough.
    answer.u64(0);
    answer.u64(BELIEVED);
    answer.u64(BELIEVED);
    answer.u64(0);
    write(answer, stat, owner);
}

/// Permission bits that anything here may get: nothing that would run as somebody. (A folder's set-group-id only decides
/// the group of what is made in it.)
pub(crate) fn permissions(mode: u32, kind: FileType) -> Result<rustix::fs::Mode, Errno> {
    use rustix::fs::Mode;
    let mode = Mode::from_raw_mode(mode & 0o7777);
    let raised = match kind {
        FileType::Directory => Mode::SUID,
        _ => Mode::SUID | Mode::SGID,
    };
    if mode.intersects(raised) { Err(Errno::PERM) } else { Ok(mode) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_to_run_as_its_owner() {
        for mode in [0o4755, 0o2755, 0o6000] {
            assert_eq!(permissions(mode, FileType::RegularFile), Err(Errno::PERM));
        }
        assert_eq!(permissions(0o4755, FileType::Directory), Err(Errno::PERM));
        assert_eq!(permissions(0o3777, FileType::Directory).unwrap().as_raw_mode(), 0o3777);
        assert_eq!(permissions(0o100_644, FileType::RegularFile).unwrap().as_raw_mode(), 0o644);
    }

    #[test]
    fn sizes_are_the_kernel_s() {
        let stat = rustix::fs::stat("/").unwrap();
        let mut answer = Answer::new();
        write(&mut answer, &stat, Owner::current());
        assert_eq!(answer.content(), 88);
        let mut answer = Answer::new();
        write_believed(&mut answer, &stat, Owner::current());
        assert_eq!(answer.content(), 104);
        let mut answer = Answer::new();
        write_entry(&mut answer, 1, &stat, Owner::current());
        assert_eq!(answer.content(), 128);
    }
}
