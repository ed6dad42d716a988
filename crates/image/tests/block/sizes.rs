//! Very many, very large, very deep, and what must not take room.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use agentkernel_image::block::{BlockPlan, LayerStream};
use agentkernel_image::unpack::UnpackLimits;
use agentkernel_image::{Digest, Hasher};

use crate::crafted::{BLOCK, Raw, Tar};
use crate::{erofs, image};

#[test]
fn an_image_without_layers_is_an_empty_folder() {
    let listing = erofs::read(&image(&[]).unwrap());
    assert_eq!(listing.keys().collect::<Vec<_>>(), [b""]);
    assert_eq!((listing[&b""[..]].mode, listing[&b""[..]].links), (0o040_755, 2));
}

#[test]
fn a_hundred_thousand_files_are_all_found() {
    let mut tar = Tar::default();
    for number in 0..100_000u32 {
        tar = tar.file(&format!("d{}/e{}/f{number}", number % 7, number % 100), &number.to_le_bytes());
    }
    let image = image(&[tar.end()]).unwrap();
    assert!(image.len() < 100_000 * 160, "small files lie beside their inodes: {}", image.len());
    let listing = erofs::read(&image);
    assert_eq!(listing.len(), 1 + 7 + 700 + 100_000);
    for number in [0u32, 1, 99_999] {
        let path = format!("d{}/e{}/f{number}", number % 7, number % 100);
        assert_eq!(listing[path.as_bytes()].content, number.to_le_bytes());
    }
}

#[test]
fn one_folder_may_hold_many_long_names() {
    let tar = (0..3000).fold(Tar::default(), |tar, number| {
        let name = format!("{number:0>255}");
        tar.pax(&[("path", name.as_bytes())]).file("x", b"")
    });
    let listing = erofs::read(&image(&[tar.end()]).unwrap());
    assert_eq!(listing.len(), 3001);
}

#[test]
fn folders_may_be_as_deep_as_on_disk() {
    let path = vec!["deep"; 500].join("/");
    let listing = erofs::read(
        &image(&[Tar::default().pax(&[("path", path.as_bytes())]).file("x", b"end").end()]).unwrap(),
    );
    assert_eq!(listing[path.as_bytes()].content, b"end");
}

#[test]
fn what_a_later_layer_replaces_takes_no_room() {
    let big = vec![7; 1 << 20];
    let lower = (0..8).fold(Tar::default(), |tar, number| tar.file(&format!("big{number}"), &big)).end();
    let again = (0..8).fold(Tar::default(), |tar, _| tar.file("big0", &big)).file("kept", b"kept").end();
    let upper = (0..8).fold(Tar::default(), |tar, number| tar.file(&format!(".wh.big{number}"), b"")).end();
    let image = image(&[lower, again, upper]).unwrap();
    assert!(image.len() <= 8192, "{}", image.len());
    assert_eq!(erofs::read(&image).keys().collect::<Vec<_>>(), [&b""[..], b"kept"]);
}

/// A tar stream of one file of so many bytes, without being in memory: of each two MiB the second is zeros.
#[derive(Clone)]
struct Large {
    header: Vec<u8>,
    pattern: Vec<u8>,
    size: u64,
    position: u64,
}

impl Large {
    fn new(size: u64) -> Self {
        let header = Raw::new(b'0', b"large", size).sealed().to_vec();
        let mut pattern: Vec<u8> = (0..1u32 << 20).map(|n| (n / 13 % 251) as u8 + 1).collect();
        pattern.resize(2 << 20, 0);
        Self { header, pattern, size, position: 0 }
    }

    fn stream_bytes(&self) -> u64 {
        self.size.next_multiple_of(BLOCK as u64) + 3 * BLOCK as u64
    }

    fn digest(&self) -> Digest {
        let (mut copy, mut hasher, mut buffer) = (self.clone(), Hasher::new(), vec![0; 1 << 20]);
        loop {
            match copy.read(&mut buffer).unwrap() {
                0 => return hasher.finish(),
                count => hasher.update(&buffer[..count]),
            }
        }
    }
}

impl Read for Large {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let header = BLOCK as u64;
        let piece = match self.position {
            at if at < header => &self.header[at as usize..],
            at if at < header + self.size => {
                let at = at - header;
                let piece = &self.pattern[at as usize % self.pattern.len()..];
                &piece[..piece.len().min((self.size - at) as usize)]
            }
            at => &[0; 3 * BLOCK][..(self.stream_bytes() - at) as usize],
        };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Large {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        assert_eq!(to, SeekFrom::Start(0));
        self.position = 0;
        Ok(0)
    }
}

#[test]
fn a_large_file_passes_through_and_its_holes_stay_holes() {
    let size = (300 << 20) + 5;
    let large = Large::new(size);
    let pattern = large.pattern.clone();
    let layer = LayerStream { blob_bytes: large.stream_bytes(), diff_id: large.digest(), blob: large };
    let mut plan = BlockPlan::of(vec![layer], UnpackLimits::default()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    plan.write(file.as_file(), file.path(), [0; 16]).unwrap();
    assert_eq!(file.as_file().metadata().unwrap().len(), plan.bytes());
    assert!(file.as_file().metadata().unwrap().blocks() * 512 < (151 << 20));
    let listing = erofs::read(&std::fs::read(file.path()).unwrap());
    let content = &listing[&b"large"[..]].content;
    assert_eq!(content.len() as u64, size);
    assert!(content.chunks(pattern.len()).all(|chunk| chunk == &pattern[..chunk.len()]));
}

#[test]
fn memory_for_names_and_attributes_is_bounded() {
    let value = vec![b'v'; 60_000];
    let tar = (0..100).fold(Tar::default(), |tar, number| {
        tar.pax(&[("SCHILY.xattr.user.x", &value)]).file(&format!("f{number}"), b"")
    });
    let stream = tar.end();
    let limits = UnpackLimits { remembered_bytes: 1 << 20, ..UnpackLimits::default() };
    let layer = LayerStream {
        blob_bytes: stream.len() as u64,
        diff_id: Digest::of(&stream),
        blob: io::Cursor::new(stream),
    };
    let error = BlockPlan::of(vec![layer], limits).unwrap_err().to_string();
    assert!(error.contains("names, links and attributes"), "{error}");
}
