//! A reader of EROFS images for tests: only what is written here, and strict about all that the format demands.

use std::collections::BTreeMap;

/// What is under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// With the kind, as stat(2) has it.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
    pub(crate) links: u32,
    /// Which inode.
    pub(crate) nid: u64,
    /// Of a file; of a link its target; of anything else nothing.
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// All below the root by path, the root as an empty path.
pub(crate) type Listing = BTreeMap<Vec<u8>, Found>;

struct Image<'b> {
    bytes: &'b [u8],
    uses: BTreeMap<u64, u32>,
}

const BLOCK: usize = 4096;
const PREFIXES: [&str; 7] =
    ["", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "", "security."];

/// Reads the whole image; panics where it isn't right.
pub(crate) fn read(bytes: &[u8]) -> Listing {
    let mut image = Image { bytes, uses: BTreeMap::new() };
    assert_eq!(image.u32(1024), 0xe0f5_e1e2, "magic");
    assert_eq!(bytes[1024 + 12], 12, "block size");
    assert_eq!(
        (image.u32(1024 + 40), image.u32(1024 + 80)),
        (0, 0),
        "places of inodes, incompatible features"
    );
    assert_eq!(image.u32(1024 + 36) as usize * BLOCK, bytes.len());
    let mut first = bytes[1024..BLOCK].to_vec();
    first[4..8].fill(0);
    assert_eq!(image.u32(1024 + 4), checksum(&first));
    let root = u64::from(image.u16(1024 + 14));
    let mut listing = Listing::new();
    image.walk(root, root, Vec::new(), &mut listing);
    let inodes: std::collections::BTreeSet<u64> = listing.values().map(|found| found.nid).collect();
    assert_eq!(image.u64(1024 + 16), inodes.len() as u64, "number of inodes");
    for found in listing.values().filter(|found| found.mode & 0o170_000 != 0o040_000) {
        assert_eq!(found.links, image.uses[&found.nid], "names of an inode");
    }
    listing
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    crc
}

impl Image<'_> {
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes[at..at + 2].try_into().unwrap())
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    fn inode(&self, nid: u64) -> Found {
        let at = nid as usize * 32;
        let format = self.u16(at);
        assert!(format == 1 || format == 5, "an extended inode, plain or inline: {format}");
        let count = usize::from(self.u16(at + 2));
        let xattr_bytes = if count == 0 { 0 } else { 12 + 4 * (count - 1) };
        let size = self.u64(at + 8) as usize;
        let mode = u32::from(self.u16(at + 4));
        let tail = if format == 5 { size % BLOCK } else { 0 };
        let begin = self.u32(at + 16) as usize * BLOCK;
        let tail_at = at + 64 + xattr_bytes;
        assert!(tail == 0 || tail_at % BLOCK + tail <= BLOCK, "a tail is within a block");
        assert!(format == 1 || tail > 0, "no tail where it says so");
        let mut content = self.bytes[begin..begin + size - tail].to_vec();
        content.extend_from_slice(&self.bytes[tail_at..tail_at + tail]);
        Found {
            mode,
            uid: self.u32(at + 24),
            gid: self.u32(at + 28),
            seconds: self.u64(at + 32) as i64,
            nanoseconds: self.u32(at + 40),
            links: self.u32(at + 44),
            nid,
            content,
            xattrs: self.xattrs(at + 64, xattr_bytes),
        }
    }

    fn xattrs(&self, begin: usize, bytes: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut xattrs = BTreeMap::new();
        let mut at = begin + 12;
        while at < begin + bytes {
            let (name, value) = (usize::from(self.bytes[at]), usize::from(self.u16(at + 2)));
            let prefix = PREFIXES[usize::from(self.bytes[at + 1])];
            let whole = [prefix.as_bytes(), &self.bytes[at + 4..at + 4 + name]].concat();
            let value = self.bytes[at + 4 + name..at + 4 + name + value].to_vec();
            at += (4 + name + value.len()).next_multiple_of(4);
            assert!(xattrs.insert(whole, value).is_none());
        }
        assert!(bytes == 0 || at == begin + bytes, "attributes end where they should");
        xattrs
    }

    fn walk(&mut self, nid: u64, parent: u64, path: Vec<u8>, listing: &mut Listing) {
        let mut found = self.inode(nid);
        *self.uses.entry(nid).or_default() += 1;
        if found.mode & 0o170_000 == 0o040_000 {
            let content = std::mem::take(&mut found.content);
            let mut folders = 0;
            let mut last: Option<Vec<u8>> = None;
            for (name, child, kind) in entries(&content) {
                assert!(last.as_ref().is_none_or(|last| *last < name), "sorted");
                last = Some(name.clone());
                let is_folder = self.inode(child).mode & 0o170_000 == 0o040_000;
                assert_eq!(u32::from(kind), type_of(self.inode(child).mode), "{name:?}");
                folders += u32::from(is_folder);
                match name.as_slice() {
                    b"." => assert_eq!(child, nid),
                    b".." => assert_eq!(child, parent),
                    name => {
                        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                        self.walk(child, nid, [&path, slash, name].concat(), listing);
                    }
                }
            }
            assert_eq!(found.links, folders, "links of a folder: both dots count as well");
        }
        listing.insert(path, found);
    }
}

fn type_of(mode: u32) -> u32 {
    match mode & 0o170_000 {
        0o100_000 => 1,
        0o040_000 => 2,
        0o010_000 => 5,
        0o120_000 => 7,
        other => panic!("{other:o}"),
    }
}

fn entries(content: &[u8]) -> Vec<(Vec<u8>, u64, u8)> {
    let mut found = Vec::new();
    for block in content.chunks(BLOCK) {
        let offset = |at: usize| usize::from(u16::from_le_bytes([block[at + 8], block[at + 9]]));
        let count = offset(0) / 12;
        assert!(count > 0 && offset(0) % 12 == 0);
        for number in 0..count {
            let at = number * 12;
            let end = if number + 1 < count { offset(at + 12) } else { block.len() };
            let name = block[offset(at)..end].split(|byte| *byte == 0).next().unwrap();
            assert!(!name.is_empty());
            let nid = u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
            found.push((name.to_vec(), nid, block[at + 10]));
        }
    }
    found
}
