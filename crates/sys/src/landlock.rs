//! Landlock: a process gives up access to files, abstract sockets and signals outside of its box, for good. A second
//! wall behind the mount namespace. See landlock(7).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io;

use crate::raw_syscall::checked;

/// The oldest version used: in version 1 every move of a file between folders fails, which breaks ordinary tools.
const FIRST_USABLE_ABI: u32 = 2;
/// The newest version that this module knows of; later ones offer at least as much.
const LAST_KNOWN_ABI: u32 = 7;

// LANDLOCK_ACCESS_FS_* of linux/landlock.h.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// EXECUTE to MAKE_SYM.
const ALL_OF_ABI_1: u64 = (1 << 13) - 1;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// What may be granted on something that is not a folder; more is EINVAL.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

// LANDLOCK_SCOPE_*.
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
const SCOPE_SIGNAL: u64 = 1 << 1;

/// A version of Landlock's interface that this kernel offers and this module uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LandlockAbi(u32);

/// What is allowed on a file, or on all in and below a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Reading, listing and executing.
    ReadExecute,
    /// All that Landlock knows of.
    ReadWrite,
}

/// One exception from "nothing is allowed".
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    path: CString,
    rights: Rights,
}

/// What a process keeps: prepared by the parent, applied by the child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    abi: LandlockAbi,
    rules: Vec<Rule>,
}

#[repr(C)]
struct RulesetAttributes {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneathAttributes {
    allowed_access: u64,
    parent_fd: i32,
}

impl LandlockAbi {
    /// What this kernel offers; `None` without Landlock (not built in, not enabled at boot) or with its first version,
    /// which can't be used.
    #[expect(unsafe_code, reason = "Landlock has no wrapper in libc")]
    pub fn detect() -> Option<Self> {
        const CREATE_RULESET_VERSION: u32 = 1;
        // SAFETY: with the version flag, the call takes a null pointer of size 0 and only returns a number.
        let abi = checked(unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, CREATE_RULESET_VERSION)
        });
        let abi = u32::try_from(abi.ok()?).ok()?.min(LAST_KNOWN_ABI);
        (abi >= FIRST_USABLE_ABI).then_some(Self(abi))
    }

    /// Its number.
    pub fn version(self) -> u32 {
        self.0
    }

    /// Whether abstract Unix sockets and signals are kept inside too.
    pub fn has_scopes(self) -> bool {
        self.0 >= 6
    }

    fn file_rights(self) -> u64 {
        let truncate = if self.0 >= 3 { TRUNCATE } else { 0 };
        let ioctl_dev = if self.0 >= 5 { IOCTL_DEV } else { 0 };
        ALL_OF_ABI_1 | REFER | truncate | ioctl_dev
    }

    fn allowed(self, rights: Rights) -> u64 {
        match rights {
            Rights::ReadExecute => EXECUTE | READ_FILE | READ_DIR,
            Rights::ReadWrite => self.file_rights(),
        }
    }

    /// How much of the attributes the kernel of this version knows.
    fn attributes_size(self) -> usize {
        match self.0 {
            ..=3 => 8,
            4 | 5 => 16,
            _ => 24,
        }
    }
}

impl Policy {
    /// Nothing is allowed yet.
    pub fn new(abi: LandlockAbi) -> Self {
        Self { abi, rules: Vec::new() }
    }

    /// Allows `rights` on what `path` leads to when the policy is applied: a file, or a folder with all below it.
    pub fn allow(mut self, path: CString, rights: Rights) -> Self {
        self.rules.push(Rule { path, rights });
        self
    }

    /// Takes from the calling thread and all it will start: every access to files that isn't allowed, connections to
    /// abstract sockets and signals to processes outside (version 6 on), and every change of mounts. Files that are
    /// open already stay usable. TCP is not touched: the network namespace decides on it. Child-safe.
    ///
    /// # Errors
    /// EPERM without no_new_privs; what opening a path gives: a rule is never skipped.
    pub fn restrict(&self) -> io::Result<()> {
        let ruleset = create_ruleset(self.abi)?;
        for rule in &self.rules {
            let file = rustix::fs::open(rule.path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            add_rule(ruleset.as_fd(), file.as_fd(), self.abi.allowed(rule.rights))?;
        }
        restrict_self(ruleset.as_fd())
    }
}

#[expect(unsafe_code, reason = "Landlock has no wrapper in libc")]
fn create_ruleset(abi: LandlockAbi) -> io::Result<OwnedFd> {
    let scoped = if abi.has_scopes() { SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL } else { 0 };
    let attributes =
        RulesetAttributes { handled_access_fs: abi.file_rights(), handled_access_net: 0, scoped };
    // SAFETY: the pointer is to a struct that is at least as large as the size given, and outlives the call.
    let fd = checked(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            abi.attributes_size(),
            0 as libc::c_uint,
        )
    })?;
    // SAFETY: the kernel just made this descriptor for us; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[expect(unsafe_code, reason = "Landlock has no wrapper in libc")]
fn add_rule(ruleset: BorrowedFd<'_>, file: BorrowedFd<'_>, allowed: u64) -> io::Result<()> {
    const RULE_PATH_BENEATH: libc::c_uint = 1;
    let is_folder = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Directory;
    let allowed_access = if is_folder { allowed } else { allowed & OF_FILES };
    let attributes = PathBeneathAttributes { allowed_access, parent_fd: file.as_raw_fd() };
    // SAFETY: the pointer is to the struct that this kind of rule takes (packed, as in the kernel's header), and
    // outlives the call; both descriptors are borrowed and so open.
    checked(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const attributes,
            0 as libc::c_uint,
        )
    })?;
    Ok(())
}

#[expect(unsafe_code, reason = "Landlock has no wrapper in libc")]
fn restrict_self(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes a descriptor, which is borrowed and so open, and flags.
    checked(unsafe {
        libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0 as libc::c_uint)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
