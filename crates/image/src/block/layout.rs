//! Where everything goes.

use super::directory::{self, Entry, FileType};
use super::format::{BLOCK_BYTES, INODE_BYTES, SLOT_BYTES, SUPERBLOCK_END};
use super::tree::{Kind, NodeId, Tree};
use crate::unpack::UnpackError;

/// What is not a number of an inode.
const NONE: u32 = u32::MAX;

/// An inode and the places of what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) node: NodeId,
    /// Of a folder: the number of the folder that it is in.
    pub(crate) parent: u32,
    pub(crate) links: u32,
    pub(crate) size: u64,
    /// Of the inode in the image; its attributes follow, then its tail.
    pub(crate) offset: u64,
    /// The first of the blocks that it fills; 0 where there are none.
    pub(crate) block: u32,
    /// Bytes that are beside the inode.
    pub(crate) inline_bytes: u64,
}

/// The content of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) layer: u32,
    /// Which entry of the layer's stream.
    pub(crate) number: u64,
    /// Whose.
    pub(crate) inode: u32,
}

/// All places of an image.
#[derive(Debug)]
pub(crate) struct Layout {
    /// By number; the root is the first.
    pub(crate) inodes: Vec<Placed>,
    /// The number of each node that is shown.
    numbers: Vec<u32>,
    /// Contents that are not empty, as the streams have them.
    pub(crate) contents: Vec<Content>,
    /// Blocks with inodes.
    pub(crate) meta_blocks: u64,
    pub(crate) blocks: u32,
}

impl Layout {
    pub(crate) fn of(tree: &Tree) -> Result<Self, UnpackError> {
        let mut layout = Self {
            inodes: Vec::new(),
            numbers: vec![NONE; tree.nodes.len()],
            contents: Vec::new(),
            meta_blocks: 0,
            blocks: 0,
        };
        layout.number(tree);
        layout.place_inodes(tree);
        layout.place_blocks(tree)?;
        Ok(layout)
    }

    /// A folder's own entries come one after the other.
    fn number(&mut self, tree: &Tree) {
        self.show(tree, tree.root, 0);
        let mut next = 0;
        while let Some(placed) = self.inodes.get(next) {
            let folder = placed.node;
            for child in tree.children(folder).into_iter().flat_map(|children| children.values()) {
                if tree.children(*child).is_some() {
                    // Its entry "..".
                    self.inodes[next].links += 1;
                }
                // Tree::add has seen to it that there are no more than a number can tell apart.
                self.show(tree, *child, next as u32);
            }
            next += 1;
        }
    }

    fn show(&mut self, tree: &Tree, node: NodeId, parent: u32) {
        let number = self.numbers[node as usize];
        if number != NONE {
            self.inodes[number as usize].links += 1;
            return;
        }
        let number = self.inodes.len() as u32;
        self.numbers[node as usize] = number;
        let (links, size) = match &tree.node(node).kind {
            Kind::Folder { .. } => (2, 0),
            Kind::File { size, .. } => (1, *size),
            Kind::Symlink(target) => (1, target.len() as u64),
            Kind::Pipe | Kind::Whiteout => (1, 0),
        };
        if let Kind::File { size: 1.., layer, number: entry } = tree.node(node).kind {
            self.contents.push(Content { layer, number: entry, inode: number });
        }
        self.inodes.push(Placed { node, parent, links, size, offset: 0, block: 0, inline_bytes: 0 });
    }

    fn place_inodes(&mut self, tree: &Tree) {
        let mut space = MetaSpace::new();
        for number in 0..self.inodes.len() {
            let node = self.inodes[number].node;
            if tree.children(node).is_some() {
                self.inodes[number].size = directory::size(&self.entries(tree, number as u32));
            }
            let head = INODE_BYTES + tree.node(node).xattrs.len() as u64;
            let placed = &mut self.inodes[number];
            let tail = placed.size % BLOCK_BYTES;
            placed.inline_bytes = if head + tail <= BLOCK_BYTES { tail } else { 0 };
            placed.offset = space.place(head + placed.inline_bytes);
        }
        self.meta_blocks = space.blocks;
    }

    /// Folders and links first, then contents as they come.
    fn place_blocks(&mut self, tree: &Tree) -> Result<(), UnpackError> {
        let mut next = self.meta_blocks;
        self.contents.sort_unstable();
        let mut place = |placed: &mut Placed| {
            let blocks = (placed.size - placed.inline_bytes).div_ceil(BLOCK_BYTES);
            let limit = u64::from(u32::MAX);
            let too_much = || UnpackError::TooMuch { what: "blocks of 4 KiB in all", limit };
            if blocks > 0 {
                placed.block = u32::try_from(next).map_err(|_| too_much())?;
                next += blocks;
            }
            u32::try_from(next).map_err(|_| too_much())
        };
        self.blocks = self.meta_blocks as u32;
        for placed in &mut self.inodes {
            if !matches!(tree.node(placed.node).kind, Kind::File { .. }) {
                self.blocks = place(placed)?;
            }
        }
        for content in &self.contents {
            self.blocks = place(&mut self.inodes[content.inode as usize])?;
        }
        Ok(())
    }

    /// What is in the folder with this number, sorted.
    pub(crate) fn entries<'t>(&self, tree: &'t Tree, number: u32) -> Vec<Entry<'t>> {
        let folder = self.inodes[number as usize];
        let entry = |name: &'t [u8], number: u32| {
            let placed = self.inodes[number as usize];
            let file_type = match tree.node(placed.node).kind {
                Kind::Folder { .. } => FileType::Folder,
                Kind::Symlink(_) => FileType::Symlink,
                Kind::Pipe => FileType::Pipe,
                Kind::File { .. } | Kind::Whiteout => FileType::File,
            };
            Entry { name, nid: placed.offset / SLOT_BYTES, file_type }
        };
        let mut entries = vec![entry(b".", number), entry(b"..", folder.parent)];
        let children = tree.children(folder.node).into_iter().flatten();
        entries.extend(children.map(|(name, node)| entry(name, self.numbers[*node as usize])));
        entries.sort_unstable_by_key(|entry| entry.name);
        entries
    }

    /// Contents of one layer, in the order of its stream.
    pub(crate) fn contents_of(&self, layer: u32) -> &[Content] {
        let begin = self.contents.partition_point(|content| content.layer < layer);
        let end = self.contents.partition_point(|content| content.layer <= layer);
        &self.contents[begin..end]
    }
}

/// Slots of a block.
const BLOCK_SLOTS: usize = (BLOCK_BYTES / SLOT_BYTES) as usize;

/// Blocks for inodes, filled so that none that fits into a block lies in two: a tail must not.
struct MetaSpace {
    /// By their free slots at the end, blocks that have some.
    free: [Vec<u64>; BLOCK_SLOTS + 1],
    blocks: u64,
}

impl MetaSpace {
    /// The superblock is in the first block.
    fn new() -> Self {
        let mut free = [const { Vec::new() }; BLOCK_SLOTS + 1];
        free[((BLOCK_BYTES - SUPERBLOCK_END) / SLOT_BYTES) as usize].push(0);
        Self { free, blocks: 1 }
    }

    /// A place of `bytes`, in the block that it fills best.
    fn place(&mut self, bytes: u64) -> u64 {
        let slots = bytes.div_ceil(SLOT_BYTES) as usize;
        let found = (slots..=BLOCK_SLOTS).find_map(|free| Some((self.free[free].pop()?, free)));
        let (block, free) = found.unwrap_or_else(|| {
            let block = self.blocks;
            let blocks = slots.div_ceil(BLOCK_SLOTS);
            self.blocks += blocks as u64;
            (block, blocks * BLOCK_SLOTS)
        });
        let used = free.next_multiple_of(BLOCK_SLOTS) - free;
        let left = free - slots;
        if left > 0 {
            let last = block + (free.div_ceil(BLOCK_SLOTS) - 1) as u64;
            self.free[left].push(last);
        }
        block * BLOCK_BYTES + used as u64 * SLOT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_are_apart_and_small_ones_within_a_block(
            sizes in proptest::collection::vec(prop_oneof![64u64..200, 64u64..4097, 4097u64..300_000], 1..200),
        ) {
            let mut space = MetaSpace::new();
            let mut places: Vec<_> = sizes.iter().map(|bytes| (space.place(*bytes), *bytes)).collect();
            prop_assert!(places[0].0 / SLOT_BYTES < 65_536, "the root's number has 16 bits");
            for (offset, bytes) in &places {
                prop_assert_eq!(offset % SLOT_BYTES, 0);
                prop_assert!(offset + bytes <= space.blocks * BLOCK_BYTES);
                prop_assert!(*bytes > BLOCK_BYTES || offset % BLOCK_BYTES + bytes <= BLOCK_BYTES);
            }
            places.sort_unstable();
            prop_assert!(places[0].0 >= SUPERBLOCK_END);
            prop_assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{:?}", places);
        }
    }
}
