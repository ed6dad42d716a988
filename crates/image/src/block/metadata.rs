//! Writing everything but the contents of files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{BLOCK_BYTES, Inode, SLOT_BYTES, SUPERBLOCK_OFFSET, Superblock, checksum};
use super::layout::{Layout, Placed};
use super::tree::{Kind, Tree};
use super::{directory, xattr};

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Writes superblock, inodes, folders and links. What stays for the contents of files reads as zeros.
pub(crate) fn write(file: &File, tree: &Tree, layout: &Layout, uuid: [u8; 16]) -> io::Result<()> {
    file.set_len(u64::from(layout.blocks) * BLOCK_BYTES)?;
    let mut order: Vec<u32> = (0..layout.inodes.len() as u32).collect();
    order.sort_unstable_by_key(|number| layout.inodes[*number as usize].offset);
    let root = layout.inodes[0].offset / SLOT_BYTES;
    let superblock = Superblock {
        root: u16::try_from(root).map_err(|_| io::Error::other("the root has a number above 65535"))?,
        inodes: layout.inodes.len() as u64,
        blocks: layout.blocks,
        uuid,
    };
    let mut writer = Writer { file, offset: 0, buffer: Vec::with_capacity(WRITE_BYTES) };
    writer.put(SUPERBLOCK_OFFSET, &superblock.encode())?;
    for number in order {
        let placed = &layout.inodes[number as usize];
        let node = tree.node(placed.node);
        writer.put(placed.offset, &inode(tree, placed, number).encode())?;
        writer.append(&node.xattrs)?;
        let content = match &node.kind {
            Kind::Folder { .. } => directory::encode(&layout.entries(tree, number)),
            Kind::Symlink(target) => target.to_vec(),
            Kind::File { .. } | Kind::Pipe | Kind::Whiteout => continue,
        };
        let (blocks, tail) = content.split_at(content.len() - placed.inline_bytes as usize);
        writer.append(tail)?;
        if !blocks.is_empty() {
            file.write_all_at(blocks, u64::from(placed.block) * BLOCK_BYTES)?;
        }
    }
    writer.flush()
}

/// Makes the checksum right, when all else is written.
pub(crate) fn seal(file: &File) -> io::Result<()> {
    let mut block = [0; BLOCK_BYTES as usize];
    file.read_exact_at(&mut block, 0)?;
    let (offset, bytes) = checksum(&block);
    file.write_all_at(&bytes, offset)
}

fn inode(tree: &Tree, placed: &Placed, number: u32) -> Inode {
    let node = tree.node(placed.node);
    let kind = match node.kind {
        Kind::Folder { .. } => 0o040_000,
        Kind::File { .. } | Kind::Whiteout => 0o100_000,
        Kind::Symlink(_) => 0o120_000,
        Kind::Pipe => 0o010_000,
    };
    Inode {
        mode: kind | node.mode,
        xattr_count: xattr::count(node.xattrs.len()),
        size: placed.size,
        block: placed.block,
        inline: placed.inline_bytes > 0,
        number: number + 1,
        uid: node.uid,
        gid: node.gid,
        seconds: node.seconds,
        nanoseconds: node.nanoseconds,
        links: placed.links,
    }
}

/// Gathers what is written in the order of places.
struct Writer<'f> {
    file: &'f File,
    /// Where what is gathered belongs.
    offset: u64,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    /// At `offset`, behind all that was put before; zeros between.
    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.buffer.resize((offset - self.offset) as usize, 0);
        self.append(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
