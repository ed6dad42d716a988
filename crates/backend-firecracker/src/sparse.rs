//! Files with holes: disks and memories of machines, most of which nobody has written.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

/// What is looked at for zeroes at a time: a page, and what file systems allocate.
const BLOCK_BYTES: usize = 4096;

/// What is read or copied at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What `file` takes of its disk, in bytes.
pub(crate) fn allocated_bytes(meta: &std::fs::Metadata) -> u64 {
    // By stat(2), whatever the file system's own blocks are.
    meta.blocks() * 512
}

/// Whether files in `folder` are in memory, and so can't be written out when that is short.
pub(crate) fn is_in_memory(folder: &Path) -> io::Result<bool> {
    // TMPFS_MAGIC and RAMFS_MAGIC of statfs(2).
    const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    let kind = rustix::fs::statfs(folder)?.f_type;
    // Its type differs from one architecture to another; the numbers have 32 bits.
    Ok(IN_MEMORY.contains(&(kind as u64 & 0xffff_ffff)))
}

/// Gives what holds only zeroes back to the disk. A file system without holes keeps it as it is.
pub(crate) fn punch_zeroes(file: &File) -> io::Result<()> {
    each_chunk(file, |chunk, offset| {
        for (from, to) in zero_runs(chunk) {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(file, flags, offset + from as u64, (to - from) as u64) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    })
}

/// What of `file` is no hole, and where, in pieces that begin at whole blocks.
fn each_chunk(file: &File, mut take: impl FnMut(&[u8], u64) -> io::Result<()>) -> io::Result<()> {
    let bytes = file.metadata()?.len();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while let Some((from, to)) = next_data(file, offset, bytes)? {
        offset = from;
        while offset < to {
            let length = usize::try_from(to - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            file.read_exact_at(chunk, offset)?;
            take(chunk, offset)?;
            offset += length as u64;
        }
    }
    Ok(())
}

/// A file's error, with its name.
pub(crate) fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Of what is in `file`, the same whether its zeroes are holes or not. Against accidents, not against anybody.
pub(crate) fn checksum(file: &File) -> io::Result<u32> {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    let bytes = file.metadata()?.len();
    let mut sum = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while let Some((from, to)) = next_data(file, offset, bytes)? {
        // Whole blocks, whatever the blocks of the file system are.
        offset = offset.max(from / BLOCK * BLOCK);
        let to = to.next_multiple_of(BLOCK).min(bytes);
        while offset < to {
            let length = usize::try_from(to - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            file.read_exact_at(chunk, offset)?;
            for (place, block) in (offset..).step_by(BLOCK_BYTES).zip(chunk.chunks(BLOCK_BYTES)) {
                if block.iter().any(|byte| *byte != 0) {
                    sum.update(&place.to_le_bytes());
                    sum.update(block);
                }
            }
            offset += length as u64;
        }
    }
    Ok(sum.finalize())
}

/// Where `bytes` are only zeroes, in whole blocks: from and to.
fn zero_runs(bytes: &[u8]) -> Vec<(usize, usize)> {
    const ZEROES: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, block) in bytes.chunks_exact(BLOCK_BYTES).enumerate() {
        if block != ZEROES {
            continue;
        }
        let from = index * BLOCK_BYTES;
        match runs.last_mut() {
            Some((_, end)) if *end == from => *end += BLOCK_BYTES,
            _ => runs.push((from, from + BLOCK_BYTES)),
        }
    }
    runs
}

/// Makes `to`, which must not be there, the same as `from`: sharing its blocks where the file system can, else a copy of
/// what is not a hole. Only its owner can use it. A copy that fails is removed.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let source = File::open(from)?;
    let target = File::options().read(true).write(true).create_new(true).mode(0o600).open(to)?;
    let copied = match rustix::fs::ioctl_ficlone(&target, &source) {
        Ok(()) => Ok(()),
        // Another file system, or one that can't.
        Err(_) => copy_data(&source, &target),
    };
    copied.inspect_err(|_| drop(std::fs::remove_file(to)))
}

fn copy_data(source: &File, target: &File) -> io::Result<()> {
    target.set_len(source.metadata()?.len())?;
    each_chunk(source, |chunk, offset| target.write_all_at(chunk, offset))
}

/// The next part of `file` from `offset` on that is no hole (lseek(2)); `None` behind the last.
fn next_data(file: &File, offset: u64, bytes: u64) -> io::Result<Option<(u64, u64)>> {
    if offset >= bytes {
        return Ok(None);
    }
    let from = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Err(Errno::NXIO) => return Ok(None),
        // All of it is data where nobody knows better.
        Err(Errno::INVAL) => return Ok(Some((offset, bytes))),
        other => other?,
    };
    let to = rustix::fs::seek(file, SeekFrom::Hole(from))?.min(bytes);
    Ok((from < to).then_some((from, to)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file of blocks that are holes, zeroes or data.
    fn file_of(path: &Path, blocks: &[u8], tail: usize) -> Vec<u8> {
        let file = File::create(path).unwrap();
        let mut content = vec![0; blocks.len() * BLOCK_BYTES + tail];
        file.set_len(content.len() as u64).unwrap();
        for (index, kind) in blocks.iter().enumerate() {
            let at = index * BLOCK_BYTES;
            if *kind > 0 {
                content[at..at + BLOCK_BYTES].fill(kind - 1);
                file.write_all_at(&content[at..at + BLOCK_BYTES], at as u64).unwrap();
            }
        }
        content
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn holes_change_no_byte(blocks in prop::collection::vec(0u8..4, 0..300), tail in 0usize..BLOCK_BYTES) {
            let folder = tempfile::tempdir().unwrap();
            let (path, copied) = (folder.path().join("a"), folder.path().join("b"));
            let content = file_of(&path, &blocks, tail);
            copy(&path, &copied).unwrap();
            prop_assert!(std::fs::read(&copied).unwrap() == content);
            let file = File::options().read(true).write(true).open(&path).unwrap();
            punch_zeroes(&file).unwrap();
            prop_assert!(std::fs::read(&path).unwrap() == content);
            let source = File::open(&path).unwrap();
            let target = File::options().read(true).write(true).create_new(true).open(folder.path().join("c")).unwrap();
            copy_data(&source, &target).unwrap();
            prop_assert!(std::fs::read(folder.path().join("c")).unwrap() == content);
        }
    }

    #[test]
    fn files_in_memory_are_known() {
        assert!(is_in_memory(Path::new("/dev/shm")).unwrap());
        assert!(!is_in_memory(Path::new("/proc")).unwrap());
    }

    #[test]
    fn zeroes_take_no_room_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copied) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&path, vec![0; 4 << 20]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let before = allocated_bytes(&file.metadata().unwrap());
        punch_zeroes(&file).unwrap();
        let after = allocated_bytes(&file.metadata().unwrap());
        assert!(after < before / 4, "{before} {after}");
        copy(&path, &copied).unwrap();
        assert!(allocated_bytes(&std::fs::metadata(&copied).unwrap()) < before / 4);
        assert!(copy(&path, &copied).is_err(), "it is there");
        assert!(copied.exists(), "and stays");
        assert!(copy(&folder.path().join("none"), &folder.path().join("c")).is_err());
    }
}
