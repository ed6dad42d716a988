//! Tar streams out of a hostile box, unpacked on the host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use agentkernel_engine::extract::{Counts, Folder, Limits, Naming, extract};

pub(crate) const BLOCK: usize = 512;

/// Streams with every kind of entry, honest and not, behind a first byte that says whether checksums are mended.
pub fn seeds() -> Vec<Vec<u8>> {
    let streams = [
        vec![
            entry("x/", b'5', "", b""),
            entry("x/file", b'0', "", b"content"),
            entry("x/link", b'2', "file", b""),
        ],
        vec![
            entry("x/", b'5', "", b""),
            entry("x/a", b'2', "../../outside", b""),
            entry("x/a/b", b'0', "", b"bad"),
        ],
        vec![entry("x/", b'5', "", b""), entry("x/f", b'0', "", b"1"), entry("x/h", b'1', "x/f", b"")],
        vec![
            entry("x/", b'5', "", b""),
            entry("x/h", b'1', "../../outside/kept", b""),
            entry("x/h", b'0', "", b"bad"),
        ],
        vec![entry("../outside/kept", b'0', "", b"bad"), entry("/etc/x", b'0', "", b"bad")],
        vec![
            entry("x/", b'5', "", b""),
            entry("x/there/kept", b'0', "", b"bad"),
            entry("x/there", b'0', "", b""),
        ],
        vec![entry("p", b'x', "", b"20 path=x/../../out\n"), entry("x/y", b'0', "", b"bad")],
        vec![entry("l", b'L', "", b"x/a/very/long/name\0"), entry("x/short", b'0', "", b"long")],
        vec![
            entry("x/dev", b'3', "", b""),
            entry("x/pipe", b'6', "", b""),
            entry("x/s", b'S', "", b"sparse"),
        ],
    ];
    let mut seeds = Vec::new();
    for (index, stream) in streams.iter().enumerate() {
        let mut bytes = vec![1, index as u8];
        bytes.extend(stream.concat());
        bytes.extend([0; 2 * BLOCK]);
        seeds.push(bytes);
    }
    seeds
}

/// One entry of a stream, its checksum missing.
pub(crate) fn entry(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0_u8; BLOCK];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000777\0");
    let size = format!("{:011o}\0", content.len());
    header[124..136].copy_from_slice(size.as_bytes());
    header[136..148].copy_from_slice(b"00000000001\0");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    let mut bytes = header;
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Whatever the stream says, nothing outside the destination is made, changed or removed.
pub fn check(input: &[u8]) {
    let [style, naming, stream @ ..] = input else { return };
    let mut stream = stream.to_vec();
    if style % 2 == 1 {
        mend_checksums(&mut stream);
    }
    let place = temporary_folder();
    let (inside, outside) = (place.path().join("inside"), place.path().join("outside"));
    for folder in [&inside, &outside, &outside.join("folder")] {
        fs::create_dir(folder).expect("a folder");
    }
    fs::write(outside.join("kept"), "kept").expect("a file");
    // What an earlier copy out of the same box may have left in the destination.
    symlink(&outside, inside.join("there")).expect("a link");
    symlink(outside.join("kept"), inside.join("file")).expect("a link");
    fs::hard_link(outside.join("kept"), inside.join("same")).expect("a hard link");
    let before = listing(&outside);

    let root = fs::File::open(&inside).expect("the destination").into();
    let limits = Limits {
        headers: 200,
        extra_headers_bytes: 64 << 10,
        depth: 16,
        content_bytes: 1 << 20,
        ..Limits::default()
    };
    let mut counts = Counts::default();
    let result = extract(stream.as_slice(), &naming_of(*naming), limits, &mut Folder::new(root), &mut counts);
    if let Err(error) = result {
        assert!(!error.to_string().is_empty());
    }
    assert!(counts.bytes <= limits.content_bytes);
    assert_eq!(listing(&outside), before, "what is outside the destination stays as it was");
    let siblings = fs::read_dir(place.path()).expect("the parent").count();
    assert_eq!(siblings, 2, "nothing is made beside the destination");
    for (path, (mode, ..)) in listing(&inside) {
        assert_eq!(mode & 0o6000, 0, "{} has a set-id bit", path.display());
    }
}

/// In memory where that is possible: thousands of small folders are made and removed.
pub(crate) fn temporary_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn naming_of(number: u8) -> Naming {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    match number % 4 {
        0 => Naming { top: text("x"), folder: true, rename: text("y") },
        1 => Naming { top: text("x"), folder: true, rename: None },
        2 => Naming { top: None, folder: true, rename: None },
        _ => Naming { top: text("x"), folder: false, rename: text("file") },
    }
}

/// All below `folder`, links not followed: mode, size, content.
pub(crate) fn listing(folder: &Path) -> BTreeMap<PathBuf, (u32, u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).expect("what was listed is there");
            let content = if metadata.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
            if metadata.is_dir() {
                waiting.push(path.clone());
            }
            found.insert(path, (metadata.mode(), metadata.len(), content));
        }
    }
    found
}

/// Without this nearly every change ends at the first header's checksum.
pub(crate) fn mend_checksums(stream: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = stream.get_mut(at..at + BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            return;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = header[124..136].iter().take_while(|byte| (b'0'..=b'7').contains(byte));
        let size = size
            .fold(0_usize, |size, digit| size.saturating_mul(8).saturating_add(usize::from(digit - b'0')));
        at = at.saturating_add(BLOCK).saturating_add(size.min(stream.len()).next_multiple_of(BLOCK));
    }
}
