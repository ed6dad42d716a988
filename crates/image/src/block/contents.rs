//! Writing contents of files to their places.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::unix::fs::FileExt;

use super::format::{BLOCK_BYTES, INODE_BYTES};
use super::layout::Placed;

/// Writes all of `content` for the file at `placed`, whose attributes take `xattr_bytes`; how many bytes that were. More
/// than its size is not written.
pub(crate) fn write(
    file: &File,
    placed: &Placed,
    xattr_bytes: u64,
    content: &mut impl BufRead,
) -> Result<u64, ContentError> {
    let in_blocks = placed.size - placed.inline_bytes;
    let blocks = u64::from(placed.block) * BLOCK_BYTES;
    let tail = placed.offset + INODE_BYTES + xattr_bytes;
    let mut done = 0;
    while done < placed.size {
        let bytes = content.fill_buf().map_err(ContentError::Read)?;
        if bytes.is_empty() {
            break;
        }
        let (offset, room) = match done < in_blocks {
            true => (blocks + done, in_blocks - done),
            false => (tail + (done - in_blocks), placed.size - done),
        };
        let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        write_but_zeros(file, &bytes[..count], offset).map_err(ContentError::Write)?;
        content.consume(count);
        done += count as u64;
    }
    Ok(done)
}

/// Which side failed.
#[derive(Debug)]
pub(crate) enum ContentError {
    Read(io::Error),
    Write(io::Error),
}

/// Writes `bytes` to a file that reads as zeros: blocks of zeros stay holes.
fn write_but_zeros(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let zeros = run(bytes, offset, true);
        bytes = &bytes[zeros..];
        offset += zeros as u64;
        let others = run(bytes, offset, false);
        file.write_all_at(&bytes[..others], offset)?;
        bytes = &bytes[others..];
        offset += others as u64;
    }
    Ok(())
}

/// The bytes at the beginning that lie in blocks of zeros, or of others.
fn run(bytes: &[u8], offset: u64, zeros: bool) -> usize {
    let mut length = 0;
    while length < bytes.len() {
        let to_border = BLOCK_BYTES - (offset + length as u64) % BLOCK_BYTES;
        let end = bytes.len().min(length + to_border as usize);
        if bytes[length..end].iter().all(|byte| *byte == 0) != zeros {
            break;
        }
        length = end;
    }
    length
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn placed(size: u64, inline_bytes: u64) -> Placed {
        Placed { node: 0, links: 1, size, offset: 1152, block: 2, inline_bytes, parent: 0 }
    }

    #[test]
    fn a_content_goes_to_its_blocks_and_its_tail() {
        let file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
        let placed = placed(10_000, 10_000 - 2 * BLOCK_BYTES);
        assert_eq!(write(&file, &placed, 12, &mut &content[..]).unwrap(), 10_000);
        let mut blocks = vec![0; 8192];
        file.read_exact_at(&mut blocks, 8192).unwrap();
        let mut tail = vec![0; 10_000 - 8192];
        file.read_exact_at(&mut tail, 1152 + 64 + 12).unwrap();
        assert_eq!([blocks, tail].concat(), content);
        assert_eq!(
            write(&file, &placed, 12, &mut &content[..9_999]).unwrap(),
            9_999,
            "a short content shows"
        );
    }

    #[test]
    fn zeros_take_no_room() {
        let file = tempfile::tempfile().unwrap();
        let mut content = vec![0; 4 << 20];
        content[2 << 20] = 1;
        file.set_len((4 << 20) + 2 * BLOCK_BYTES).unwrap();
        write(&file, &placed(4 << 20, 0), 0, &mut &content[..]).unwrap();
        let mut back = vec![0; 4 << 20];
        file.read_exact_at(&mut back, 2 * BLOCK_BYTES).unwrap();
        assert!(back == content);
        assert!(file.metadata().unwrap().blocks() * 512 < 64 << 10);
    }
}
