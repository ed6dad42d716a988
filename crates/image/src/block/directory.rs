//! The content of folders: blocks, each with its entries first and then their names, all in the order of the names.

use super::format::BLOCK_BYTES;

/// Bytes of an entry without its name.
const ENTRY_BYTES: usize = 12;

/// A name in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry<'n> {
    pub(crate) name: &'n [u8],
    /// The place of its inode in slots.
    pub(crate) nid: u64,
    pub(crate) file_type: FileType,
}

/// As readdir(3) knows it, by the number that the format has for it (linux/fs_types.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileType {
    File = 1,
    Folder = 2,
    Pipe = 5,
    Symlink = 7,
}

/// Bytes that a folder of `entries`, which are sorted by name, takes.
pub(crate) fn size(entries: &[Entry<'_>]) -> u64 {
    let mut size = 0;
    let mut blocks = blocks(entries).peekable();
    while let Some(block) = blocks.next() {
        size += if blocks.peek().is_some() { BLOCK_BYTES } else { block_bytes(block) as u64 };
    }
    size
}

/// The content of a folder of `entries`, which are sorted by name.
pub(crate) fn encode(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in blocks(entries) {
        // Of the block before, what it doesn't use is zeros.
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES as usize), 0);
        let mut name_offset = block.len() * ENTRY_BYTES;
        for entry in block {
            bytes.extend_from_slice(&entry.nid.to_le_bytes());
            // Below the size of a block.
            bytes.extend_from_slice(&(name_offset as u16).to_le_bytes());
            bytes.extend_from_slice(&[entry.file_type as u8, 0]);
            name_offset += entry.name.len();
        }
        block.iter().for_each(|entry| bytes.extend_from_slice(entry.name));
    }
    bytes
}

/// As many entries as fit into a block, again and again.
fn blocks<'e, 'n>(mut entries: &'e [Entry<'n>]) -> impl Iterator<Item = &'e [Entry<'n>]> {
    std::iter::from_fn(move || {
        let mut used = 0;
        let fits = |entry: &&Entry<'_>| {
            used += ENTRY_BYTES + entry.name.len();
            used <= BLOCK_BYTES as usize
        };
        let count = entries.iter().take_while(fits).count();
        let (block, rest) = entries.split_at(count);
        entries = rest;
        (!block.is_empty()).then_some(block)
    })
}

fn block_bytes(block: &[Entry<'_>]) -> usize {
    block.iter().map(|entry| ENTRY_BYTES + entry.name.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[Vec<u8>]) -> Vec<Entry<'_>> {
        names.iter().map(|name| Entry { name, nid: 36, file_type: FileType::File }).collect()
    }

    #[test]
    fn one_block_has_entries_then_names() {
        let names = [b".".to_vec(), b"..".to_vec(), b"a".to_vec()];
        let bytes = encode(&entries(&names));
        assert_eq!(bytes[..12], [36, 0, 0, 0, 0, 0, 0, 0, 36, 0, 1, 0]);
        assert_eq!((bytes[20], bytes[32], &bytes[36..]), (37, 39, &b"...a"[..]));
        assert_eq!(size(&entries(&names)), 40);
    }

    #[test]
    fn long_folders_go_on_in_further_blocks() {
        for length in [1, 100, 244, 245, 255] {
            for count in [1, 15, 16, 17, 500] {
                let names = vec![vec![b'x'; length]; count];
                let bytes = encode(&entries(&names));
                assert_eq!(bytes.len() as u64, size(&entries(&names)), "{count} of {length}");
                let per_block = BLOCK_BYTES as usize / (ENTRY_BYTES + length);
                let last = (count - 1) % per_block + 1;
                let expected = (count - 1) / per_block * BLOCK_BYTES as usize + last * (ENTRY_BYTES + length);
                assert_eq!(bytes.len(), expected, "{count} of {length}");
            }
        }
    }
}
