//! What is packed is what our own reader unpacks.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{PackError, Source, pack};
use crate::extract::{Counts, Folder, Limits, Naming, extract};

fn roundtrip(source: &Path, name: &str, dest: &Path) -> Counts {
    let mut tar = Vec::new();
    let mut packed = Counts::default();
    pack(Source::Folder(File::open(source).unwrap().into()), source, name.as_bytes(), &mut tar, &mut packed)
        .unwrap();
    let top = (!name.is_empty()).then(|| name.as_bytes().to_vec());
    let naming = Naming { top, folder: true, rename: Some(b"copy".to_vec()) };
    let mut sink = Folder::new(File::open(dest).unwrap().into());
    let mut unpacked = Counts::default();
    extract(tar.as_slice(), &naming, Limits::default(), &mut sink, &mut unpacked).unwrap();
    assert_eq!((packed.files, packed.links, packed.bytes), (unpacked.files, unpacked.links, unpacked.bytes));
    packed
}

#[test]
fn a_tree_survives_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let (source, dest) = (dir.path().join("source"), dir.path().join("dest"));
    let deep = source.join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::create_dir(&dest).unwrap();
    std::fs::write(deep.join("file"), vec![9u8; 100_000]).unwrap();
    std::fs::write(source.join("empty"), "").unwrap();
    symlink("t".repeat(300), source.join("long link")).unwrap();
    symlink("/etc/shadow", source.join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        source.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for name in ["source", ""] {
        let counts = roundtrip(&source, name, &dest);
        assert_eq!((counts.files, counts.links, counts.skipped), (2, 2, 1));
        let copy = dest.join("copy");
        assert_eq!(
            std::fs::read(copy.join("d".repeat(120)).join("e".repeat(120)).join("file")).unwrap().len(),
            100_000
        );
        assert_eq!(std::fs::read_link(copy.join("link")).unwrap(), Path::new("/etc/shadow"));
        assert_eq!(std::fs::read_link(copy.join("long link")).unwrap().as_os_str().len(), 300);
    }
}

#[test]
fn a_receiver_that_ends_is_told_from_a_file_that_cant_be_read() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let folder = || Source::Folder(File::open(dir.path()).unwrap().into());
    let closed = pack(folder(), dir.path(), b"x", Closed, &mut Counts::default());
    assert!(matches!(closed, Err(PackError::Write { .. })), "{closed:?}");
}
