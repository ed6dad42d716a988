//! From requests to answers. What a request may do is decided here; how it is done, beside this.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::attributes::{self, Owner};
use crate::handles::Handles;
use crate::nodes::{Node, Nodes};
use crate::wire::{Answer, Broken, Fields, Request};

/// The most bytes of one read or write.
pub const MAX_TRANSFER: usize = 128 << 10;

/// The most bytes of a request: a whole write and what is said of it.
pub const MAX_REQUEST: usize = MAX_TRANSFER + 4096;

/// The version of the protocol that is spoken: 7.31, whose messages all later kernels understand.
const MAJOR: u32 = 7;
const MINOR: u32 = 31;

/// Requests that the guest makes in advance, at most.
const MOST_IN_ADVANCE: u16 = 16;

/// FUSE_INIT's flags (linux/fuse.h): reads at once, truncation by opening, writes of more than a page, cached content dropped
/// when the file changes, folders read at once. None that would let the guest hold something back from the host.
const FLAGS: u32 = 1 | 1 << 3 | 1 << 5 | 1 << 12 | 1 << 18;

/// Serves one folder, or one file, to one guest.
#[derive(Debug)]
pub struct FolderServer {
    pub(crate) nodes: Nodes,
    pub(crate) handles: Handles,
    pub(crate) owner: Owner,
    /// This process's `/proc/self/fd`: the way from a descriptor that only refers to something to one that is open.
    descriptors: OwnedFd,
    read_only: bool,
    begun: AtomicBool,
}

/// What a request is answered with: `None` where it wants no answer.
pub(crate) type Reply = Result<Answer, Errno>;

impl FolderServer {
    /// Serves `root`; `descriptors` is this process's `/proc/self/fd`. Files of this process's user and group are shown as
    /// root's, all others as nobody's.
    ///
    /// # Errors
    /// What looking at `root` gives.
    pub fn new(root: OwnedFd, descriptors: OwnedFd, read_only: bool) -> Result<Self, Errno> {
        Ok(Self {
            nodes: Nodes::new(root)?,
            handles: Handles::default(),
            owner: Owner::current(),
            descriptors,
            read_only,
            begun: AtomicBool::new(false),
        })
    }

    /// The whole message that answers a whole one; `None` where it wants none.
    ///
    /// # Errors
    /// [`Broken`] where it is no message: the stream is of no use from there on.
    pub fn answer(&self, message: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let Request { operation, unique, node, fields } = Request::parse(message, MAX_REQUEST)?;
        let begun = self.begun.load(Ordering::Acquire);
        let reply = match operation {
            FORGET => return Ok(self.forget(node, fields)),
            BATCH_FORGET => return Ok(self.forget_several(fields)),
            INTERRUPT => return Ok(None),
            INIT if !begun => self.begin(fields),
            _ if !begun || operation == INIT => Err(Errno::IO),
            _ => self.perform(operation, node, fields),
        };
        Ok(Some(Answer::of(reply, unique)))
    }

    fn begin(&self, mut fields: Fields<'_>) -> Reply {
        let (major, minor, read_ahead, offered) =
            (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        if major != MAJOR || minor < MINOR {
            return Err(Errno::PROTO);
        }
        self.begun.store(true, Ordering::Release);
        let most = u32::try_from(MAX_TRANSFER).unwrap_or(u32::MAX);
        let mut answer = Answer::new();
        answer.u32(MAJOR);
        answer.u32(MINOR);
        answer.u32(read_ahead.min(most));
        answer.u32(offered & FLAGS);
        answer.u16(MOST_IN_ADVANCE);
        answer.u16(MOST_IN_ADVANCE);
        answer.u32(most);
        // Times are as fine as a nanosecond; the rest is for what isn't offered.
        answer.u32(1);
        answer.bytes(&[0; 36]);
        Ok(answer)
    }

    fn perform(&self, operation: u32, node: u64, fields: Fields<'_>) -> Reply {
        if self.read_only && is_change(operation) {
            return Err(Errno::ROFS);
        }
        match operation {
            LOOKUP => self.look_up(node, fields),
            GETATTR => self.attributes(node, fields),
            SETATTR => self.set_attributes(node, fields),
            READLINK => self.read_link(node),
            SYMLINK => self.make_link(node, fields),
            MKNOD => self.make_node(node, fields),
            MKDIR => self.make_folder(node, fields),
            UNLINK => self.remove(node, fields, AtFlags::empty()),
            RMDIR => self.remove(node, fields, AtFlags::REMOVEDIR),
            RENAME => self.rename(node, fields, false),
            RENAME2 => self.rename(node, fields, true),
            LINK => self.make_name(node, fields),
            OPEN => self.open(node, fields),
            CREATE => self.create(node, fields),
            READ => self.read(fields),
            WRITE => self.write(fields),
            FALLOCATE => self.allocate(fields),
            LSEEK => self.seek(fields),
            FLUSH => Ok(Answer::new()),
            FSYNC => self.sync(fields),
            FSYNCDIR => self.sync_folder(fields),
            RELEASE | RELEASEDIR => self.close(fields),
            OPENDIR => self.open_folder(node),
            READDIR => self.read_folder(fields),
            STATFS => self.file_system(node),
            DESTROY => Ok(Answer::new()),
            // The guest's kernel does without, or does it by itself: locks, extended attributes, ioctl, poll.
            _ => Err(Errno::NOSYS),
        }
    }

    fn forget(&self, node: u64, mut fields: Fields<'_>) -> Option<Vec<u8>> {
        self.nodes.forget(node, fields.u64().unwrap_or(0));
        None
    }

    fn forget_several(&self, mut fields: Fields<'_>) -> Option<Vec<u8>> {
        let mut several = || -> Result<(), Errno> {
            let count = fields.u32()?;
            fields.skip(4)?;
            for _ in 0..count {
                let (node, times) = (fields.u64()?, fields.u64()?);
                self.nodes.forget(node, times);
            }
            Ok(())
        };
        // A shorter list than it says ends where it ends.
        several().ok();
        None
    }

    /// The folder that the guest knows as `node`.
    pub(crate) fn folder(&self, node: u64) -> Result<Arc<Node>, Errno> {
        let folder = self.nodes.get(node)?;
        if folder.kind == FileType::Directory { Ok(folder) } else { Err(Errno::NOTDIR) }
    }

    /// Refers to `name` in `folder`: itself, where it is a link.
    pub(crate) fn refer(folder: &Node, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        agentkernel_sys::open_resolved::open_resolved(&folder.place, name, flags, INSIDE)
    }

    /// Tells the guest of `place`: `struct fuse_entry_out`.
    pub(crate) fn tell(&self, answer: &mut Answer, place: OwnedFd) -> Result<(), Errno> {
        let (node, stat) = self.nodes.tell(place)?;
        attributes::write_entry(answer, node, &stat, self.owner);
        Ok(())
    }

    /// The name of what `place` refers to, in [`Self::descriptors`].
    pub(crate) fn descriptor_name(place: &OwnedFd) -> String {
        use std::os::fd::AsRawFd as _;
        place.as_raw_fd().to_string()
    }

    pub(crate) fn descriptors(&self) -> &OwnedFd {
        &self.descriptors
    }

    /// Opens what `node` refers to: a regular file or a folder, anything else could wait or be a device.
    pub(crate) fn open_again(&self, node: &Node, flags: OFlags) -> Result<OwnedFd, Errno> {
        match node.kind {
            FileType::RegularFile | FileType::Directory => {}
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::NXIO),
        }
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        rustix::fs::openat(&self.descriptors, Self::descriptor_name(&node.place), flags, Mode::empty())
    }

    fn look_up(&self, node: u64, mut fields: Fields<'_>) -> Reply {
        let name = fields.name()?;
        let mut answer = Answer::new();
        self.tell(&mut answer, Self::refer(&*self.folder(node)?, name)?)?;
        Ok(answer)
    }

    fn read_link(&self, node: u64) -> Reply {
        let link = self.nodes.get(node)?;
        if link.kind != FileType::Symlink {
            return Err(Errno::INVAL);
        }
        let content = rustix::fs::readlinkat(&link.place, c"", Vec::new())?;
        let mut answer = Answer::new();
        answer.bytes(content.to_bytes());
        Ok(answer)
    }

    fn file_system(&self, node: u64) -> Reply {
        let found = rustix::fs::fstatvfs(&self.nodes.get(node)?.place)?;
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let mut answer = Answer::new();
        for count in [found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree] {
            answer.u64(count);
        }
        answer.u32(number(found.f_bsize));
        answer.u32(number(found.f_namemax));
        answer.u32(number(found.f_frsize));
        answer.bytes(&[0; 28]);
        Ok(answer)
    }
}

/// Names are looked up one at a time, so that no path leads out; and no link is followed.
pub(crate) const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// What can't be done to what is only to be read. Opening is decided by how; what is open for reading can't be written.
fn is_change(operation: u32) -> bool {
    matches!(
        operation,
        SETATTR
            | SYMLINK
            | MKNOD
            | MKDIR
            | UNLINK
            | RMDIR
            | RENAME
            | RENAME2
            | LINK
            | CREATE
            | WRITE
            | FALLOCATE
    )
}

impl FolderServer {
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }
}

// Operations (linux/fuse.h, enum fuse_opcode).
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const READLINK: u32 = 5;
const SYMLINK: u32 = 6;
const MKNOD: u32 = 8;
const MKDIR: u32 = 9;
const UNLINK: u32 = 10;
const RMDIR: u32 = 11;
const RENAME: u32 = 12;
const LINK: u32 = 13;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const FSYNCDIR: u32 = 30;
const CREATE: u32 = 35;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;
const FALLOCATE: u32 = 43;
const RENAME2: u32 = 45;
const LSEEK: u32 = 46;
