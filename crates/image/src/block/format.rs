//! The bytes of the superblock and of inodes (fs/erofs/erofs_fs.h). All numbers are little-endian.

/// The unit of places, and what a page of memory has where these images are used.
pub(crate) const BLOCK_BYTES: u64 = 4096;

/// The unit in which inodes are counted.
pub(crate) const SLOT_BYTES: u64 = 32;

/// An extended inode.
pub(crate) const INODE_BYTES: u64 = 64;

/// Where the superblock is, and where it ends.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
pub(crate) const SUPERBLOCK_END: u64 = SUPERBLOCK_OFFSET + 128;

const MAGIC: u32 = 0xe0f5_e1e2;

/// The checksum is there, and inodes have the time of the last change.
const COMPATIBLE: u32 = 0x1 | 0x2;

/// Bit 0: extended; from bit 1 on: contents in blocks, or the same with the tail beside the inode.
const PLAIN: u16 = 1;
const INLINE: u16 = 2 << 1 | 1;

/// What there is of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) root: u16,
    pub(crate) inodes: u64,
    pub(crate) blocks: u32,
    pub(crate) uuid: [u8; 16],
}

impl Superblock {
    /// Without its checksum.
    pub(crate) fn encode(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        put(&mut bytes, 0, &MAGIC.to_le_bytes());
        put(&mut bytes, 8, &COMPATIBLE.to_le_bytes());
        bytes[12] = BLOCK_BYTES.trailing_zeros() as u8;
        put(&mut bytes, 14, &self.root.to_le_bytes());
        put(&mut bytes, 16, &self.inodes.to_le_bytes());
        put(&mut bytes, 36, &self.blocks.to_le_bytes());
        put(&mut bytes, 48, &self.uuid);
        bytes
    }
}

/// Where the checksum is in block 0, and its bytes for a block 0 in which they are zeros. Everything behind the
/// superblock's beginning counts, inodes as well.
pub(crate) fn checksum(block: &[u8; BLOCK_BYTES as usize]) -> (u64, [u8; 4]) {
    (SUPERBLOCK_OFFSET + 4, crc32c(&block[SUPERBLOCK_OFFSET as usize..]).to_le_bytes())
}

/// CRC-32C (RFC 3720, B.4) without the inversion at the end, as the kernel's `crc32c` begins with all bits set.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// What there is of a file, folder, link or pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inode {
    /// With the kind.
    pub(crate) mode: u16,
    pub(crate) xattr_count: u16,
    pub(crate) size: u64,
    /// Where its blocks are.
    pub(crate) block: u32,
    /// Whether what doesn't fill a block is beside the inode.
    pub(crate) inline: bool,
    /// For callers that know 32 bits only.
    pub(crate) number: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
    pub(crate) links: u32,
}

impl Inode {
    pub(crate) fn encode(&self) -> [u8; INODE_BYTES as usize] {
        let mut bytes = [0; INODE_BYTES as usize];
        let format = if self.inline { INLINE } else { PLAIN };
        put(&mut bytes, 0, &format.to_le_bytes());
        put(&mut bytes, 2, &self.xattr_count.to_le_bytes());
        put(&mut bytes, 4, &self.mode.to_le_bytes());
        put(&mut bytes, 8, &self.size.to_le_bytes());
        put(&mut bytes, 16, &self.block.to_le_bytes());
        put(&mut bytes, 20, &self.number.to_le_bytes());
        put(&mut bytes, 24, &self.uid.to_le_bytes());
        put(&mut bytes, 28, &self.gid.to_le_bytes());
        put(&mut bytes, 32, &self.seconds.to_le_bytes());
        put(&mut bytes, 40, &self.nanoseconds.to_le_bytes());
        put(&mut bytes, 44, &self.links.to_le_bytes());
        bytes
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        // The check value of the algorithm, which inverts at the end.
        assert_eq!(!crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(!crc32c(&[0; 32]), 0x8a91_36aa, "RFC 3720, B.4");
    }

    #[test]
    fn all_fields_are_where_the_header_has_them() {
        let superblock = Superblock { root: 0x2401, inodes: 7, blocks: 9, uuid: [0xaa; 16] }.encode();
        assert_eq!(superblock[..4], [0xe2, 0xe1, 0xf5, 0xe0]);
        assert_eq!(superblock[8..17], [3, 0, 0, 0, 12, 0, 1, 0x24, 7]);
        assert_eq!((superblock[36], &superblock[48..64], superblock[80]), (9, &[0xaa; 16][..], 0));
        let inode = Inode {
            mode: 0o100_644,
            xattr_count: 3,
            size: 5,
            block: 6,
            inline: true,
            number: 8,
            uid: 1,
            gid: 2,
            seconds: -1,
            nanoseconds: 4,
            links: 10,
        };
        let bytes = inode.encode();
        assert_eq!(bytes[..9], [5, 0, 3, 0, 0xa4, 0x81, 0, 0, 5]);
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([16, 20, 24, 28, 40, 44].map(number), [6, 8, 1, 2, 4, 10]);
        assert_eq!(bytes[32..40], [0xff; 8]);
        assert_eq!(Inode { inline: false, ..inode }.encode()[0], 1);
    }
}
