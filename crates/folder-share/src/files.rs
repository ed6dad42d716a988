//! Attributes and content of files.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FallocateFlags, FileType, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::attributes::{self, permissions, write_believed};
use crate::handles::Opened;
use crate::nodes::Node;
use crate::server::{FolderServer, INSIDE, MAX_TRANSFER, Reply};
use crate::wire::{Answer, Fields};

// What a FUSE_SETATTR changes (linux/fuse.h, FATTR_*). Others need nothing to be done.
const SET_MODE: u32 = 1;
const SET_USER: u32 = 1 << 1;
const SET_GROUP: u32 = 1 << 2;
const SET_SIZE: u32 = 1 << 3;
const SET_ACCESS_TIME: u32 = 1 << 4;
const SET_CHANGE_TIME: u32 = 1 << 5;
const SET_BY_HANDLE: u32 = 1 << 6;
const SET_ACCESS_NOW: u32 = 1 << 7;
const SET_CHANGE_NOW: u32 = 1 << 8;

/// FUSE_GETATTR_FH and FUSE_FSYNC_FDATASYNC.
const BY_HANDLE: u32 = 1;
const DATA_ONLY: u32 = 1;

/// What of the guest's way to open is the host's as well (open(2)); the numbers are those of this processor's kernel, which is
/// the guest's too.
const KEPT: OFlags = OFlags::RDWR
    .union(OFlags::WRONLY)
    .union(OFlags::APPEND)
    .union(OFlags::TRUNC)
    .union(OFlags::DSYNC)
    .union(OFlags::SYNC);

impl FolderServer {
    pub(crate) fn attributes(&self, node: u64, mut fields: Fields<'_>) -> Reply {
        let flags = fields.u32()?;
        fields.skip(4)?;
        let stat = match flags & BY_HANDLE {
            0 => self.nodes.get(node)?.stat()?,
            _ => match self.handles.get(fields.u64()?)?.as_ref() {
                Opened::File(file) => rustix::fs::fstat(file)?,
                folder @ Opened::Folder(_) => rustix::fs::fstat(&*folder.folder()?)?,
            },
        };
        Ok(self.told(&stat))
    }

    fn told(&self, stat: &Stat) -> Answer {
        let mut answer = Answer::new();
        write_believed(&mut answer, stat, self.owner);
        answer
    }

    pub(crate) fn set_attributes(&self, node: u64, mut fields: Fields<'_>) -> Reply {
        let node = self.nodes.get(node)?;
        let wanted = fields.u32()?;
        fields.skip(4)?;
        let (handle, size) = (fields.u64()?, fields.u64()?);
        fields.skip(8)?;
        let (access, change) = (fields.u64()?, fields.u64()?);
        fields.skip(8)?;
        let (access_rest, change_rest) = (fields.u32()?, fields.u32()?);
        fields.skip(4)?;
        let mode = fields.u32()?;
        fields.skip(4)?;
        let (user, group) = (fields.u32()?, fields.u32()?);

        // All that can be refused without trying is, before the first change.
        let stat = node.stat()?;
        let chowned = |set, wanted_id, id| wanted & set != 0 && wanted_id != id;
        if chowned(SET_USER, user, self.owner.user_inside(&stat))
            || chowned(SET_GROUP, group, self.owner.group_inside(&stat))
        {
            return Err(Errno::PERM);
        }
        let mode = match wanted & SET_MODE {
            0 => None,
            _ if node.kind == FileType::Symlink => return Err(Errno::OPNOTSUPP),
            _ => Some(permissions(mode, node.kind)?),
        };
        let time = |set: u32, now: u32, seconds: u64, rest: u32| match wanted {
            wanted if wanted & now != 0 => Ok(Some((0, rustix::fs::UTIME_NOW))),
            wanted if wanted & set == 0 => Ok(None),
            _ if rest >= 1_000_000_000 => Err(Errno::INVAL),
            _ => Ok(Some((seconds as i64, rest.into()))),
        };
        let access = time(SET_ACCESS_TIME, SET_ACCESS_NOW, access, access_rest)?;
        let change = time(SET_CHANGE_TIME, SET_CHANGE_NOW, change, change_rest)?;

        if wanted & SET_SIZE != 0 {
            match wanted & SET_BY_HANDLE {
                0 => rustix::fs::ftruncate(&self.open_file_again(&node, OFlags::WRONLY)?, size)?,
                _ => rustix::fs::ftruncate(self.handles.get(handle)?.file()?, size)?,
            }
        }
        if let Some(mode) = mode {
            self.change_mode(&node, mode)?;
        }
        if access.is_some() || change.is_some() {
            set_times(&node, access, change)?;
        }
        Ok(self.told(&node.stat()?))
    }

    fn change_mode(&self, node: &Node, mode: Mode) -> Result<(), Errno> {
        let name = Self::descriptor_name(&node.place);
        rustix::fs::chmodat(self.descriptors(), name, mode, AtFlags::empty())
    }

    /// Only regular files have content here.
    fn open_file_again(&self, node: &Node, flags: OFlags) -> Result<OwnedFd, Errno> {
        if node.kind == FileType::Directory {
            return Err(Errno::ISDIR);
        }
        self.open_again(node, flags)
    }

    fn kept(&self, flags: u32) -> Result<OFlags, Errno> {
        let kept = OFlags::from_bits_retain(flags) & KEPT;
        let writes = kept.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC);
        if self.is_read_only() && writes { Err(Errno::ROFS) } else { Ok(kept) }
    }

    fn tell_handle(&self, answer: &mut Answer, file: OwnedFd) {
        answer.u64(self.handles.give(Opened::File(file)));
        // Nothing is kept from one opening to the next: the host may have changed it.
        answer.u64(0);
    }

    pub(crate) fn open(&self, node: u64, mut fields: Fields<'_>) -> Reply {
        let flags = self.kept(fields.u32()?)?;
        let file = self.open_file_again(&*self.nodes.get(node)?, flags)?;
        let mut answer = Answer::new();
        self.tell_handle(&mut answer, file);
        Ok(answer)
    }

    pub(crate) fn create(&self, node: u64, mut fields: Fields<'_>) -> Reply {
        let (flags, mode) = (fields.u32()?, fields.u32()?);
        fields.skip(8)?;
        let name = fields.name()?;
        let folder = self.folder(node)?;
        let mode = permissions(mode, FileType::RegularFile)?;
        let exclusive = OFlags::from_bits_retain(flags) & OFlags::EXCL;
        // Never waits, whatever has the name.
        let own = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let flags = self.kept(flags)? | exclusive | own;
        let file = loop {
            match rustix::fs::openat2(&folder.place, name, flags, mode, INSIDE) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => break other?,
            }
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(Errno::NXIO);
        }
        let place = rustix::fs::openat(
            self.descriptors(),
            Self::descriptor_name(&file),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut answer = Answer::new();
        self.tell(&mut answer, place)?;
        self.tell_handle(&mut answer, file);
        Ok(answer)
    }

    pub(crate) fn read(&self, mut fields: Fields<'_>) -> Reply {
        let (handle, offset, size) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let handle = self.handles.get(handle)?;
        let file = handle.file()?;
        let mut answer = Answer::new();
        answer.filled((size as usize).min(MAX_TRANSFER), |buffer| {
            // The guest takes less than it asked for as the end.
            let mut read = 0;
            while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
                let at = offset.checked_add(read as u64).ok_or(Errno::INVAL)?;
                match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *rest, at)) {
                    Ok(0) => break,
                    Ok(count) => read += count,
                    Err(_) if read > 0 => break,
                    Err(errno) => return Err(errno),
                }
            }
            Ok(read)
        })?;
        Ok(answer)
    }

    pub(crate) fn write(&self, mut fields: Fields<'_>) -> Reply {
        let (handle, offset, size) = (fields.u64()?, fields.u64()?, fields.u32()?);
        fields.skip(20)?;
        let content = fields.bytes(size as usize)?;
        let handle = self.handles.get(handle)?;
        let file = handle.file()?;
        let mut written = 0;
        while let Some(rest) = content.get(written..).filter(|rest| !rest.is_empty()) {
            let at = offset.checked_add(written as u64).ok_or(Errno::FBIG)?;
            match rustix::io::retry_on_intr(|| rustix::io::pwrite(file, rest, at)) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(_) if written > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        let mut answer = Answer::new();
        answer.u32(u32::try_from(written).unwrap_or(0));
        answer.u32(0);
        Ok(answer)
    }

    pub(crate) fn allocate(&self, mut fields: Fields<'_>) -> Reply {
        let (handle, offset, length, mode) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u32()?);
        let mode = FallocateFlags::from_bits(mode).ok_or(Errno::OPNOTSUPP)?;
        rustix::fs::fallocate(self.handles.get(handle)?.file()?, mode, offset, length)?;
        Ok(Answer::new())
    }

    pub(crate) fn seek(&self, mut fields: Fields<'_>) -> Reply {
        const DATA: u32 = 3;
        const HOLE: u32 = 4;
        let (handle, offset, whence) = (fields.u64()?, fields.u64()?, fields.u32()?);
        // The guest's kernel does the others by itself.
        let from = match whence {
            DATA => SeekFrom::Data(offset),
            HOLE => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        // Reads and writes say where, so that it doesn't matter where the descriptor stands.
        let found = rustix::fs::seek(self.handles.get(handle)?.file()?, from)?;
        let mut answer = Answer::new();
        answer.u64(found);
        Ok(answer)
    }

    pub(crate) fn sync(&self, mut fields: Fields<'_>) -> Reply {
        let (handle, flags) = (fields.u64()?, fields.u32()?);
        let handle = self.handles.get(handle)?;
        match flags & DATA_ONLY {
            0 => rustix::fs::fsync(handle.file()?)?,
            _ => rustix::fs::fdatasync(handle.file()?)?,
        }
        Ok(Answer::new())
    }

    pub(crate) fn close(&self, mut fields: Fields<'_>) -> Reply {
        self.handles.take_back(fields.u64()?)?;
        Ok(Answer::new())
    }
}

/// Seconds and nanoseconds, or one of the special values of utimensat(2).
type Time = (i64, attributes::Nanoseconds);

fn set_times(node: &Node, access: Option<Time>, change: Option<Time>) -> Result<(), Errno> {
    let time = |time: Option<Time>| {
        let (tv_sec, tv_nsec) = time.unwrap_or((0, rustix::fs::UTIME_OMIT));
        Timespec { tv_sec, tv_nsec }
    };
    let times = Timestamps { last_access: time(access), last_modification: time(change) };
    rustix::fs::utimensat(&node.place, c"", &times, AtFlags::EMPTY_PATH)
}
