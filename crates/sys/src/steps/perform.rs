//! Steps as system calls. Child-safe throughout.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, UnmountFlags};

use super::step::{Descriptor, Origin, SLOTS, Step};
use crate::mount::{self, MountAttributes};

/// The exit status of a child that fails; nobody reads it.
pub(super) const FAILED: libc::c_int = 125;

#[expect(unsafe_code, reason = "leaving without running the parent's destructors")]
pub(super) fn exit(status: libc::c_int) -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::_exit(status) }
}

pub(super) type Slots = [Option<OwnedFd>; SLOTS];

fn slot(slots: &mut Slots, index: usize) -> Result<&mut Option<OwnedFd>, Errno> {
    slots.get_mut(index).ok_or(Errno::NFILE)
}

impl Step {
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<(), Errno> {
        match self {
            Self::AwaitGo(fd) => await_go(*fd),
            Self::AwaitTrees { from, slots: indexes } => {
                indexes.iter().try_for_each(|index| await_tree(*from, slot(slots, *index)?))
            }
            Self::NewSession => rustix::process::setsid().map(drop),
            Self::WorkingFolder(path) => rustix::process::chdir(path),
            Self::EnterNetwork(namespace) => {
                let kind = rustix::thread::LinkNameSpaceType::Network;
                rustix::thread::move_into_link_name_space(borrow(namespace), Some(kind))
            }
            Self::BecomeUser { user, group, groups } => become_user(*user, *group, groups),
            Self::EnterCgroups(entries) => entries.iter().try_for_each(|entry| enter_cgroup(entry)),
            Self::CgroupNamespace => unshare_cgroup(),
            Self::PrivateMounts => {
                let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                rustix::mount::mount_change(c"/", flags)
            }
            Self::CloneTree { slot: index, source, attributes } => {
                *slot(slots, *index)? = Some(mount::clone_tree(source, *attributes)?);
                Ok(())
            }
            Self::CloneResolvedTree { slot: index, source, attributes } => {
                *slot(slots, *index)? = Some(mount::clone_resolved_tree(source, *attributes)?);
                Ok(())
            }
            Self::AdoptTree { slot: index, tree } => {
                *slot(slots, *index)? = Some(rustix::io::fcntl_dupfd_cloexec(borrow(tree), 0)?);
                Ok(())
            }
            Self::OpenFolder { slot: index, path } => {
                *slot(slots, *index)? = Some(folder_itself(path)?);
                Ok(())
            }
            Self::BecomeRoot { drop_groups } => become_root(*drop_groups),
            Self::DieWithParent => {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            }
            Self::NewFilesystem { slot: index, kind, options, attributes } => {
                *slot(slots, *index)? = Some(new_filesystem(kind, options, *attributes)?);
                Ok(())
            }
            Self::NewOverlay { slot: index, folders, attributes } => {
                *slot(slots, *index)? = Some(folders.mount(*attributes)?);
                Ok(())
            }
            Self::Attach { slot: index, target } => {
                let tree = slot(slots, *index)?.take().ok_or(Errno::BADF)?;
                mount::attach(&tree, target)
            }
            Self::AttachAndEnter { slot: index, stage } => {
                let stage = slot(slots, *stage)?.take().ok_or(Errno::BADF)?;
                let tree = slot(slots, *index)?.as_ref().ok_or(Errno::BADF)?;
                mount::attach_at(tree, &stage)?;
                rustix::process::fchdir(tree)
            }
            Self::AttachAndHold { slot: index, target } => {
                mount::attach(slot(slots, *index)?.as_ref().ok_or(Errno::BADF)?, target)
            }
            Self::AttachToFolder { slot: index, folder } => {
                let tree = slot(slots, *index)?.take().ok_or(Errno::BADF)?;
                mount::attach_at(&tree, &folder_itself(folder)?)
            }
            Self::PivotRoot => pivot_root(),
            Self::PivotInto { slot: index } => pivot_into(&slot(slots, *index)?.take().ok_or(Errno::BADF)?),
            Self::Directory { path, mode } => ignore_existing(rustix::fs::mkdir(path, Mode::from(*mode))),
            Self::OwnFolder { path, mode } => own_folder(path, *mode),
            Self::OwnFile(path) => own_file(path),
            Self::EmptyFolder { path, mode } => {
                own_folder(path, *mode)?;
                remove_contents_of(path)
            }
            Self::Rename { from, to } => rustix::fs::rename(from, to),
            Self::Symlink { target, path } => ignore_existing(rustix::fs::symlink(target, path)),
            Self::File { path, mode, content } => write_file(path, *mode, content, true),
            Self::FileOnce { path, mode, content } => write_file(path, *mode, content, false),
            Self::Setting { path, value } => {
                let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(&file, value.to_bytes()).map(drop)
            }
            Self::Umask(mask) => {
                rustix::process::umask(Mode::from(*mask));
                Ok(())
            }
            Self::MountPoint(path) => {
                let flags =
                    OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
                rustix::fs::open(path, flags, Mode::from(0o644)).map(drop)
            }
            Self::ReadOnlyRoot => {
                let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                mount::set_attributes(&root, MountAttributes::PLAIN.read_only(), false, None)
            }
            Self::HostName(name) => rustix::system::sethostname(name),
            Self::Loopback => crate::loopback::bring_up(),
            Self::ResourceLimit(limit) => limit.apply(),
            Self::RemoveContents(folder) => crate::remove_tree::remove_contents(borrow(folder)),
            Self::Finish => exit(0),
            Self::Descriptors(descriptors) => place_descriptors(descriptors, slots),
            Self::Capabilities(keep) => keep.keep_only(),
            Self::NoNewPrivileges => crate::capability::set_no_new_privileges(),
            Self::Landlock(policy) => policy.restrict(),
            Self::Seccomp(filter) => filter.install(),
        }
    }
}

#[expect(unsafe_code, reason = "descriptor numbers of the parent")]
fn borrow(fd: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: the parent keeps the descriptors it names in a program open until the child has been cloned, and the child
    // closes only those that none of its steps names; after Step::Descriptors a program names only what that has placed. A
    // wrong number is an error of the system call, not of memory.
    unsafe { BorrowedFd::borrow_raw(*fd) }
}

fn await_go(fd: RawFd) -> Result<(), Errno> {
    let mut byte = [0];
    loop {
        match rustix::io::read(borrow(&fd), &mut byte) {
            Ok(0) => exit(FAILED),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn await_tree(from: RawFd, place: &mut Option<OwnedFd>) -> Result<(), Errno> {
    match crate::tree_channel::receive(borrow(&from))? {
        None => exit(FAILED),
        tree => *place = tree,
    }
    Ok(())
}

/// The folder at `path`, for mounts; ENOTDIR where that is a link.
fn folder_itself(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

fn enter_cgroup(tasks: &CStr) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let tasks = rustix::fs::open(tasks, flags, Mode::empty())?;
    rustix::io::write(tasks, b"0").map(drop)
}

#[expect(unsafe_code, reason = "unshare is unsafe for namespaces that this one is not")]
fn unshare_cgroup() -> Result<(), Errno> {
    // SAFETY: a plain flag; no memory or descriptor table is unshared.
    match unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWCGROUP) } {
        0 => Ok(()),
        _ => Err(mount::last_errno()),
    }
}

#[expect(
    unsafe_code,
    reason = "libc's own functions would signal other threads, which the copy doesn't have"
)]
fn become_root(drop_groups: bool) -> Result<(), Errno> {
    let check = |result: libc::c_long| if result == 0 { Ok(()) } else { Err(mount::last_errno()) };
    // SAFETY: raw system calls with plain numbers; the empty group list may be a null pointer.
    unsafe {
        if drop_groups {
            check(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()))?;
        }
        check(libc::syscall(libc::SYS_setresgid, 0, 0, 0))?;
        check(libc::syscall(libc::SYS_setresuid, 0, 0, 0))
    }
}

#[expect(
    unsafe_code,
    reason = "libc's own functions would signal other threads, which the copy doesn't have"
)]
fn become_user(user: u32, group: u32, groups: &[u32]) -> Result<(), Errno> {
    let check = |result: libc::c_long| if result == 0 { Ok(()) } else { Err(mount::last_errno()) };
    // SAFETY: raw system calls with plain numbers; the list of groups is as long as said and outlives the call.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        check(libc::syscall(libc::SYS_setresgid, group, group, group))?;
        check(libc::syscall(libc::SYS_setresuid, user, user, user))
    }
}

fn new_filesystem(
    kind: &CStr,
    options: &[(CString, CString)],
    attributes: MountAttributes,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&context, key.as_c_str())?;
        } else {
            rustix::mount::fsconfig_set_string(&context, key.as_c_str(), value.as_c_str())?;
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    let tree = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    mount::set_attributes(&tree, attributes, false, None)?;
    Ok(tree)
}

/// The old root is stacked below the new one and let go of, so no folder for it is needed (pivot_root(2), NOTES).
fn pivot_root() -> Result<(), Errno> {
    // Not by a plain bind mount, which follows a link that an earlier tenant may have left for the folder.
    pivot_into(&mount::clone_resolved_tree(c"root", MountAttributes::default())?)
}

fn pivot_into(root: &OwnedFd) -> Result<(), Errno> {
    mount::attach_at(root, &folder_itself(c"root")?)?;
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

fn ignore_existing(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn write_file(path: &CStr, mode: u32, content: &[u8], replace: bool) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::from(mode)) {
        Err(Errno::EXIST) if !replace => return Ok(()),
        Err(Errno::EXIST) => {
            match rustix::fs::unlinkat(rustix::fs::CWD, path, AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    remove_contents_of(path)?;
                    rustix::fs::unlinkat(rustix::fs::CWD, path, AtFlags::REMOVEDIR)?;
                }
                other => other?,
            }
            rustix::fs::open(path, flags, Mode::from(mode))?
        }
        other => other?,
    };
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// What a box has put into a folder of ours, or as a folder where a file of ours belongs.
fn remove_contents_of(path: &CStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    crate::remove_tree::remove_contents(rustix::fs::open(path, flags, Mode::empty())?.as_fd())
}

fn kind_of(path: &CStr) -> Result<FileType, Errno> {
    let found = rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode))
}

fn own_folder(path: &CStr, mode: u32) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, Mode::from(mode)) {
        Err(Errno::EXIST) if kind_of(path)? == FileType::Directory => Ok(()),
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(rustix::fs::CWD, path, AtFlags::empty())?;
            rustix::fs::mkdir(path, Mode::from(mode))
        }
        other => other,
    }
}

fn own_file(path: &CStr) -> Result<(), Errno> {
    match kind_of(path) {
        Ok(FileType::RegularFile | FileType::Directory) => return Ok(()),
        Ok(_) => rustix::fs::unlinkat(rustix::fs::CWD, path, AtFlags::empty())?,
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from(0o644)).map(drop)
}

#[expect(unsafe_code, reason = "descriptor numbers are the subject")]
fn place_descriptors(descriptors: &[Descriptor], slots: &Slots) -> Result<(), Errno> {
    const ABOVE: RawFd = 64;
    const MOST: usize = 16;
    let mut parked = [-1; MOST];
    let last = descriptors.iter().map(|descriptor| descriptor.to).max().unwrap_or(2);
    if descriptors.len() > MOST || last >= ABOVE {
        return Err(Errno::MFILE);
    }
    let check = |result: RawFd| if result < 0 { Err(mount::last_errno()) } else { Ok(result) };
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: plain numbers. Sources are first moved out of the way of the targets; everything above the last target,
    // `null` and the slots included, is closed by number, and nothing uses their owners afterwards: `null` is forgotten
    // and the slots belong to a stack frame that is left by exec or exit only.
    unsafe {
        for (place, descriptor) in parked.iter_mut().zip(descriptors) {
            let from = match descriptor.from {
                Origin::Parent(number) => number,
                Origin::Slot(slot) => {
                    slots.get(slot).and_then(Option::as_ref).ok_or(Errno::BADF)?.as_raw_fd()
                }
            };
            *place = check(libc::fcntl(from, libc::F_DUPFD, ABOVE))?;
        }
        for stream in 0..3 {
            check(libc::dup2(null.as_raw_fd(), stream))?;
        }
        for (place, descriptor) in parked.iter().zip(descriptors) {
            let flags = if descriptor.close_on_exec { libc::O_CLOEXEC } else { 0 };
            check(libc::dup3(*place, descriptor.to, flags))?;
        }
        std::mem::forget(null);
        match libc::syscall(libc::SYS_close_range, last + 1, libc::c_uint::MAX, 0) {
            0 => Ok(()),
            _ => Err(mount::last_errno()),
        }
    }
}
