//! Whether a file is a kernel that a VMM can load: an uncompressed one of this processor, and all of it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The header of a 64-bit ELF file, and of one of its segments (elf(5)).
const ELF_HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: u64 = 56;

/// A kernel has a handful.
const SEGMENTS_MAX: u16 = 64;

/// A segment that is loaded.
const PT_LOAD: u32 = 1;

/// The machine of an x86-64 file, and little endian 64 bits.
const EM_X86_64: u16 = 62;

/// Where the header of an arm64 `Image` has its mark, and the mark (Documentation/arch/arm64/booting).
const ARM64_MARK: (usize, &[u8]) = (56, b"ARM\x64");

/// What is wrong with it as a kernel of this processor's machines; a few hundred bytes of it are read.
pub fn check_kernel(path: &Path) -> Result<(), String> {
    check_for(std::env::consts::ARCH, path)
}

fn check_for(architecture: &str, path: &Path) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("it can't be read: {error}");
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let mut head = [0; ELF_HEADER_BYTES];
    match file.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(format!("it is truncated: it has {} bytes", metadata.len()));
        }
        other => other.map_err(unreadable)?,
    }
    match architecture {
        "aarch64" => arm64(&head),
        _ => elf(&file, &head, metadata.len()),
    }
}

fn arm64(head: &[u8; ELF_HEADER_BYTES]) -> Result<(), String> {
    let (at, mark) = ARM64_MARK;
    match head[at..].starts_with(mark) {
        true => Ok(()),
        false => Err(format!("it is no kernel for arm64 (an `Image` file){}", kind(head))),
    }
}

fn elf(file: &File, head: &[u8; ELF_HEADER_BYTES], bytes: u64) -> Result<(), String> {
    let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Err(format!("it is no uncompressed kernel (an ELF file, `vmlinux`){}", kind(head)));
    }
    if half(18) != EM_X86_64 {
        return Err(format!("it is made for another processor (ELF machine {})", half(18)));
    }
    let (table, entry_bytes, count) = (long(&head[32..40]), half(54), half(56));
    if u64::from(entry_bytes) != SEGMENT_BYTES || !(1..=SEGMENTS_MAX).contains(&count) {
        return Err("it has nothing to load".to_owned());
    }
    let truncated = |needed: Option<u64>| match needed {
        Some(needed) => format!("it is truncated: it has {bytes} of at least {needed} bytes"),
        None => "it is damaged".to_owned(),
    };
    let mut loads = false;
    for number in 0..u64::from(count) {
        let at = table.checked_add(number * SEGMENT_BYTES);
        let end = at.and_then(|at| at.checked_add(SEGMENT_BYTES));
        let (Some(at), Some(end)) = (at, end) else { return Err(truncated(None)) };
        let mut segment = [0; SEGMENT_BYTES as usize];
        if end > bytes || file.read_exact_at(&mut segment, at).is_err() {
            return Err(truncated(Some(end)));
        }
        if u32::from_le_bytes([segment[0], segment[1], segment[2], segment[3]]) != PT_LOAD {
            continue;
        }
        loads = true;
        match long(&segment[8..16]).checked_add(long(&segment[32..40])) {
            Some(end) if end <= bytes => {}
            needed => return Err(truncated(needed)),
        }
    }
    if loads { Ok(()) } else { Err("it has nothing to load".to_owned()) }
}

fn long(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A guess at what it is instead.
fn kind(head: &[u8]) -> &'static str {
    match head {
        [0x1f, 0x8b, ..] => "; it is compressed: unpack it with gunzip",
        [0xfd, b'7', b'z', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => "; it is compressed",
        [b'M', b'Z', ..] => {
            "; it is a compressed kernel (bzImage): the kernel's build has `vmlinux` beside it"
        }
        _ => "",
    }
}

/// For tests: a small kernel of one segment with `content` bytes.
#[cfg(test)]
pub(super) fn small_kernel(content: usize) -> Vec<u8> {
    let mut bytes = vec![0; ELF_HEADER_BYTES + SEGMENT_BYTES as usize];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18..20].copy_from_slice(&EM_X86_64.to_le_bytes());
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
    bytes[56..58].copy_from_slice(&1_u16.to_le_bytes());
    bytes[64..68].copy_from_slice(&PT_LOAD.to_le_bytes());
    bytes[72..80].copy_from_slice(&120_u64.to_le_bytes());
    bytes[96..104].copy_from_slice(&(content as u64).to_le_bytes());
    bytes.resize(bytes.len() + content, 7);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(bytes: &[u8]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinux");
        std::fs::write(&path, bytes).unwrap();
        check_for("x86_64", &path)
    }

    #[test]
    fn a_whole_kernel_is_fine_and_each_shorter_one_truncated() {
        let whole = small_kernel(1000);
        checked(&whole).unwrap();
        for length in [0, 63, 64, 100, 120, whole.len() - 1] {
            let error = checked(&whole[..length]).unwrap_err();
            assert!(error.contains("truncated"), "{length}: {error}");
        }
    }

    #[test]
    fn what_is_no_kernel_is_named() {
        let of = |bytes: &[u8]| {
            let mut file = bytes.to_vec();
            file.resize(200, 0);
            checked(&file).unwrap_err()
        };
        assert!(of(b"\x1f\x8b").contains("gunzip"));
        assert!(of(b"MZ").contains("bzImage"));
        assert!(of(b"hello").contains("vmlinux"));
        let mut other = small_kernel(10);
        other[18] = 183;
        assert!(checked(&other).unwrap_err().contains("another processor"));
        let mut empty = small_kernel(10);
        empty[64] = 2;
        assert!(checked(&empty).unwrap_err().contains("nothing to load"));
        let mut endless = small_kernel(10);
        endless[96..104].fill(0xff);
        assert!(checked(&endless).is_err());
        assert!(check_for("x86_64", Path::new("/")).unwrap_err().contains("no regular file"));
        assert!(check_for("x86_64", Path::new("/nowhere")).is_err());
    }

    #[test]
    fn arm64_has_a_mark_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Image");
        let mut image = vec![0; 100];
        std::fs::write(&path, &image).unwrap();
        assert!(check_for("aarch64", &path).unwrap_err().contains("arm64"));
        image[56..60].copy_from_slice(b"ARM\x64");
        std::fs::write(&path, &image).unwrap();
        check_for("aarch64", &path).unwrap();
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..120, value: u8) {
            let mut bytes = small_kernel(50);
            bytes[at] = value;
            drop(checked(&bytes));
        }
    }
}
