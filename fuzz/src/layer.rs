//! Layers of images that strangers made, unpacked on the host.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::symlink;

use agentkernel_image::Digest;
use agentkernel_image::block::{BlockPlan, LayerStream};
use agentkernel_image::unpack::{Ownership, UnpackLimits, unpack_layer};

use crate::archive::{BLOCK, entry, listing, mend_checksums, temporary_folder};

/// Streams with every kind of entry, honest and not, behind a first byte that says how the rest is taken: bit 0, whether
/// checksums are mended; bits 1 and 2, what it is compressed with then (0: it stays as it is).
pub fn seeds() -> Vec<Vec<u8>> {
    let attribute = b"36 SCHILY.xattr.user.overlay.opaque=y\n";
    let streams = [
        vec![
            entry("d/", b'5', "", b""),
            entry("d/file", b'0', "", b"content"),
            entry("d/.wh.gone", b'0', "", b""),
            entry("d/.wh..wh..opq", b'0', "", b""),
            entry(".wh..wh..opq", b'0', "", b""),
        ],
        vec![entry("a", b'2', "../outside", b""), entry("a/kept", b'0', "", b"bad")],
        vec![entry("a", b'2', "/proc/self/root", b""), entry("a/.wh.tmp", b'0', "", b"")],
        vec![entry("f", b'0', "", b"1"), entry("h", b'1', "f", b""), entry("f", b'0', "", b"2")],
        vec![entry("h", b'1', "../outside/kept", b""), entry("h", b'0', "", b"bad")],
        vec![
            entry("d/e/f", b'0', "", b"1"),
            entry("d", b'2', "../outside", b""),
            entry("d/kept", b'0', "", b""),
        ],
        vec![entry(".wh.x", b'0', "", b""), entry("x/y", b'0', "", b""), entry("x", b'0', "", b"")],
        vec![entry("/etc/x", b'0', "", b""), entry(".wh...", b'0', "", b"")],
        vec![entry("dev", b'3', "", b""), entry("pipe", b'6', "", b""), entry("pipe", b'0', "", b"x")],
        vec![entry("p", b'x', "", b"20 path=x/../../out\n"), entry("y", b'0', "", b"bad")],
        vec![entry("p", b'x', "", attribute), entry("y/", b'5', "", b"")],
        vec![entry("l", b'L', "", b"a/long/name\0"), entry("s", b'S', "", b"sparse")],
    ];
    let mut seeds = Vec::new();
    for (number, stream) in streams.iter().enumerate() {
        let mut bytes = stream.concat();
        bytes.extend([0; 2 * BLOCK]);
        for style in [1, 3, 5] {
            seeds.push([&[style][..], &bytes].concat());
        }
        if number < 3 {
            seeds.push([&[0][..], &gzip(&bytes)].concat());
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            seeds.push([&[0][..], &ruzstd::encoding::compress_to_vec(&bytes[..], level)].concat());
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(&bytes).expect("memory takes all");
            seeds.push([&[0][..], &encoder.finish().expect("memory takes all")].concat());
        }
    }
    seeds.push([&[0, 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(b"x")].concat());
    seeds
}

/// Whatever the layer says, nothing outside its folder is made, changed or removed, and no more comes out than is allowed.
pub fn check(input: &[u8]) {
    let [style, stream @ ..] = input else { return };
    let mut stream = stream.to_vec();
    if style & 1 == 1 {
        mend_checksums(&mut stream);
    }
    let blob = match style >> 1 & 3 {
        1 => gzip(&stream),
        2 => zstd(&stream),
        _ => stream,
    };
    let place = temporary_folder();
    let (inside, outside) = (place.path().join("inside"), place.path().join("outside"));
    for folder in [&inside, &outside, &outside.join("folder")] {
        fs::create_dir(folder).expect("a folder");
    }
    fs::write(outside.join("kept"), "kept").expect("a file");
    symlink("kept", outside.join("link")).expect("a link");
    let before = listing(&outside);

    let target = fs::File::open(&inside).expect("the folder").into();
    let limits = UnpackLimits {
        stream_bytes: 1 << 20,
        ratio: 100,
        free_bytes: 64 << 10,
        headers: 200,
        depth: 16,
        remembered_bytes: 16 << 10,
    };
    let unpacked = unpack_layer(blob.as_slice(), blob.len() as u64, target, Ownership::Ignore, limits);
    match &unpacked {
        Ok((report, _)) => assert!(report.bytes <= limits.stream_bytes),
        Err(error) => assert!(!error.to_string().contains('\u{1b}')),
    }
    if let Ok((_, diff_id)) = unpacked {
        block_image(&blob, diff_id, limits);
    }
    assert_eq!(listing(&outside), before, "what is outside the layer stays as it was");
    let siblings = fs::read_dir(place.path()).expect("the parent").count();
    assert_eq!(siblings, 2, "nothing is made beside the layer");
}

/// What was unpacked becomes a block device as well, unless an owner is none that a box has: those only count there.
fn block_image(blob: &[u8], diff_id: Digest, limits: UnpackLimits) {
    let layer = LayerStream { blob: Cursor::new(blob), blob_bytes: blob.len() as u64, diff_id };
    match BlockPlan::of(vec![layer], limits) {
        Ok(mut plan) => {
            let file = tempfile::NamedTempFile::new().expect("a file");
            plan.write(file.as_file(), file.path(), [0; 16]).expect("a block image");
            assert!(plan.bytes() <= 64 << 20);
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("belongs to user") || error.contains("more than is accepted"), "{error}");
        }
    }
}

/// Stored, not compressed: what counts is the way through the decompressor, and that many inputs are tried.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes all")
}

/// A frame of raw blocks (RFC 8878, 3.1.1), its content's size left out.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    // The least window, 1 KiB, bounds the blocks.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0];
    let mut blocks = bytes.chunks(1024).peekable();
    if blocks.peek().is_none() {
        frame.extend([1, 0, 0]);
    }
    while let Some(block) = blocks.next() {
        let header = (block.len() as u32) << 3 | u32::from(blocks.peek().is_none());
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_reach_the_tar_reader() {
        let place = temporary_folder();
        for (name, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
            let folder = place.path().join(name);
            fs::create_dir(&folder).expect("a folder");
            let mut stream = [entry("file", b'0', "", &[7; 3000]), vec![0; 2 * BLOCK]].concat();
            mend_checksums(&mut stream);
            let blob = pack(&stream);
            let target = fs::File::open(&folder).expect("the folder").into();
            let limits = UnpackLimits::default();
            unpack_layer(blob.as_slice(), blob.len() as u64, target, Ownership::Ignore, limits)
                .expect("an honest layer");
            assert_eq!(fs::read(folder.join("file")).expect("a file"), [7; 3000]);
        }
    }
}
