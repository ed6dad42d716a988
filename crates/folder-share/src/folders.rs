//! Listings of folders.

use std::mem::MaybeUninit;
use std::sync::Mutex;

use rustix::fs::{FileType, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use crate::handles::Opened;
use crate::server::{FolderServer, MAX_TRANSFER, Reply};
use crate::wire::{Answer, Fields};

/// What is asked of the host at a time.
const LISTING_BYTES: usize = 16 << 10;

/// `struct fuse_dirent` before the name.
const ENTRY_BYTES: usize = 24;

impl FolderServer {
    pub(crate) fn open_folder(&self, node: u64) -> Reply {
        let folder = self.folder(node)?;
        let opened = self.open_again(&folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut answer = Answer::new();
        answer.u64(self.handles.give(Opened::Folder(Mutex::new(opened))));
        answer.u64(0);
        Ok(answer)
    }

    /// From where the guest says on: nothing is remembered but where the host's own listing stands.
    pub(crate) fn read_folder(&self, mut fields: Fields<'_>) -> Reply {
        let (handle, offset, size) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let size = (size as usize).min(MAX_TRANSFER);
        let handle = self.handles.get(handle)?;
        let folder = handle.folder()?;
        rustix::fs::seek(&*folder, SeekFrom::Start(offset))?;
        let mut buffer = [MaybeUninit::uninit(); LISTING_BYTES];
        let mut listing = RawDir::new(&*folder, &mut buffer);
        let mut answer = Answer::new();
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(_) if answer.content() > 0 => break,
                Err(errno) => return Err(errno),
            };
            let name = entry.file_name().to_bytes();
            let length = (ENTRY_BYTES + name.len()).next_multiple_of(8);
            if answer.content() + length > size {
                if answer.content() == 0 {
                    return Err(Errno::INVAL);
                }
                break;
            }
            answer.u64(entry.ino());
            answer.u64(entry.next_entry_cookie());
            answer.u32(u32::try_from(name.len()).unwrap_or(0));
            answer.u32(kind_number(entry.file_type()));
            answer.bytes(name);
            answer.bytes([0; 8].get(..length - ENTRY_BYTES - name.len()).unwrap_or_default());
        }
        Ok(answer)
    }

    pub(crate) fn sync_folder(&self, mut fields: Fields<'_>) -> Reply {
        let handle = self.handles.get(fields.u64()?)?;
        rustix::fs::fsync(&*handle.folder()?)?;
        Ok(Answer::new())
    }
}

/// `d_type` of readdir(3): 0 is not known.
fn kind_number(kind: FileType) -> u32 {
    match kind {
        FileType::Fifo => 1,
        FileType::CharacterDevice => 2,
        FileType::Directory => 4,
        FileType::BlockDevice => 6,
        FileType::RegularFile => 8,
        FileType::Symlink => 10,
        FileType::Socket => 12,
        FileType::Unknown => 0,
    }
}
