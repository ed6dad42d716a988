//! Layers: where they lead, what they pretend to be, and how much they ask for.

use std::fs::File;
use std::io::Cursor;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use agentkernel_image::block::{BlockPlan, LayerStream};
use agentkernel_image::unpack::{Ownership, UnpackError, UnpackLimits, unpack_layer};
use agentkernel_image::{Digest, ImageError, UnpackReport};

use crate::crafted::{Raw, Tar, gzip, pax_record, zstd};
use crate::erofs;
use crate::{tar, walk};

/// Where a layer goes, a place beside it that must stay as it is, and what is accepted.
struct Bench {
    dir: tempfile::TempDir,
    limits: UnpackLimits,
    ownership: Ownership,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("layer")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/precious"), "precious").unwrap();
        let limits = UnpackLimits { headers: 1000, stream_bytes: 64 << 20, ..UnpackLimits::default() };
        // Without root nobody can give files away.
        Self { dir, limits, ownership: Ownership::Ignore }
    }

    fn layer(&self) -> PathBuf {
        self.dir.path().join("layer")
    }

    fn outside(&self) -> String {
        self.dir.path().join("outside").display().to_string()
    }

    fn unpack(&self, blob: &[u8]) -> Result<UnpackReport, UnpackError> {
        let target: OwnedFd = File::open(self.layer()).unwrap().into();
        let unpacked = unpack_layer(blob, blob.len() as u64, target, self.ownership, self.limits);
        self.outside_is_unharmed();
        self.block_image_says_the_same(blob, &unpacked);
        unpacked.map(|(report, _)| report)
    }

    /// What is refused on disk is refused as a block device with the same words, and the other way round.
    #[track_caller]
    fn block_image_says_the_same(&self, blob: &[u8], unpacked: &Result<(UnpackReport, Digest), UnpackError>) {
        let diff_id = unpacked.as_ref().map_or(Digest::of(b"unknown"), |(_, digest)| *digest);
        let layer = LayerStream { blob: Cursor::new(blob), blob_bytes: blob.len() as u64, diff_id };
        let written = BlockPlan::of(vec![layer], self.limits).and_then(|mut plan| {
            let file = tempfile::NamedTempFile::new().unwrap();
            plan.write(file.as_file(), file.path(), [0; 16])?;
            Ok(std::fs::read(file.path()).unwrap())
        });
        match (unpacked, written) {
            (Ok(_), Ok(image)) => drop(erofs::read(&image)),
            (Err(error), Err(ImageError::Layer { source, .. })) => {
                assert_eq!(source.to_string(), error.to_string());
            }
            (unpacked, written) => panic!("{unpacked:?} on disk, {written:?} as a block device"),
        }
    }

    fn outside_is_unharmed(&self) {
        let mut names: Vec<_> =
            walk(self.dir.path()).into_iter().filter(|path| !path.starts_with(self.layer())).collect();
        names.sort();
        assert_eq!(names, [self.dir.path().join("outside"), self.dir.path().join("outside/precious")]);
        let precious = self.dir.path().join("outside/precious");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(precious.metadata().unwrap().nlink(), 1, "nothing links to it");
    }

    #[track_caller]
    fn contains(&self, tar: Tar) -> UnpackReport {
        self.unpack(&tar.end()).unwrap()
    }

    /// Refused, with this in the message.
    #[track_caller]
    fn refuses(&self, blob: &[u8], why: &str) {
        let error = self.unpack(blob).unwrap_err().to_string();
        assert!(error.contains(why), "{error:?} should say {why:?}");
        assert!(!error.contains('\u{1b}') && error.len() < 1000, "{error:?}");
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.layer().join(path)).unwrap()
    }
}

#[test]
fn climbing_paths_are_refused() {
    for path in ["../outside/precious", "a/../../outside/precious", "a/..", "..", "./../x"] {
        Bench::new().refuses(&tar().file(path, b"bad").end(), "climbs");
        Bench::new().refuses(&tar().dir(path).end(), "climbs");
        Bench::new().refuses(&tar().symlink(path, "x").end(), "climbs");
    }
}

#[test]
fn absolute_paths_stay_below_the_layer() {
    let bench = Bench::new();
    let target = format!("{}/precious", bench.outside());
    bench.contains(tar().file(&target, b"bad").file("//etc/passwd", b"contained"));
    assert_eq!(bench.read(&target[1..]), "bad");
    assert_eq!(bench.read("etc/passwd"), "contained");
}

#[test]
fn empty_and_rootless_names_are_refused() {
    Bench::new().refuses(&tar().file("", b"x").end(), "empty");
    Bench::new().refuses(&tar().file("./", b"x").end(), "only a folder");
    Bench::new().refuses(&tar().symlink("/", "x").end(), "only a folder");
    Bench::new().refuses(&tar().hard_link(".", "x").end(), "only a folder");
}

#[test]
fn names_with_nul_are_refused() {
    Bench::new().refuses(&tar().pax(&[("path", b"a\0/../b")]).file("x", b"").end(), "NUL");
    Bench::new().refuses(&tar().extra(b'L', b"a\0b\0").file("x", b"").end(), "NUL");
    Bench::new().refuses(&tar().pax(&[("linkpath", b"a\0b")]).symlink("x", "y").end(), "NUL");
}

#[test]
fn names_that_are_too_long_or_too_deep_are_refused() {
    let name = "x".repeat(256);
    Bench::new().refuses(&tar().pax(&[("path", name.as_bytes())]).file("x", b"").end(), "255 bytes");
    let path = vec!["d"; 600].join("/");
    Bench::new().refuses(&tar().pax(&[("path", path.as_bytes())]).file("x", b"").end(), "too deep");
    let path = vec!["d".repeat(200); 30].join("/");
    Bench::new().refuses(&tar().pax(&[("path", path.as_bytes())]).file("x", b"").end(), "4095 bytes");
    let target = "t".repeat(5000);
    Bench::new()
        .refuses(&tar().pax(&[("linkpath", target.as_bytes())]).symlink("x", "y").end(), "4095 bytes");
}

#[test]
fn a_file_through_an_absolute_symlink_is_refused() {
    let bench = Bench::new();
    bench.refuses(&tar().symlink("a", &bench.outside()).file("a/precious", b"bad").end(), "not followed");
}

#[test]
fn a_file_through_a_climbing_symlink_is_refused() {
    Bench::new().refuses(&tar().symlink("a", "../outside").file("a/precious", b"bad").end(), "not followed");
    Bench::new()
        .refuses(&tar().dir("d").symlink("d/a", "../../outside").file("d/a/x", b"").end(), "not followed");
}

#[test]
fn a_chain_of_symlinks_is_refused() {
    let chain = tar().symlink("a", "b").symlink("b", "c").symlink("c", "../outside");
    Bench::new().refuses(&chain.file("a/precious", b"bad").end(), "not followed");
    Bench::new().refuses(&tar().symlink("a", "a").file("a/x", b"bad").end(), "not followed");
}

#[test]
fn a_folder_through_a_symlink_is_refused() {
    Bench::new().refuses(&tar().symlink("a", "../outside").dir("a/new").end(), "not followed");
    Bench::new().refuses(&tar().symlink("a", "../outside").file("a/b/c", b"").end(), "not followed");
}

#[test]
fn a_magic_link_is_kept_and_not_followed() {
    Bench::new()
        .refuses(&tar().symlink("a", "/proc/self/root").file("a/tmp/x", b"bad").end(), "not followed");
    Bench::new().refuses(&tar().symlink("a", "/proc/self/fd/0").file("a/x", b"bad").end(), "not followed");
}

#[test]
fn a_file_over_a_symlink_replaces_the_link() {
    let bench = Bench::new();
    bench.contains(tar().symlink("a", "../outside/precious").file("a", b"new"));
    assert_eq!(bench.read("a"), "new");
    let bench = Bench::new();
    bench.contains(tar().symlink("a", "../outside").dir("a").file("a/precious", b"new"));
    assert_eq!(bench.read("a/precious"), "new");
}

#[test]
fn a_symlink_over_a_folder_removes_only_the_folder() {
    let bench = Bench::new();
    bench.contains(
        tar().dir("a").file("a/b/c", b"x").symlink("a/l", "../../outside").symlink("a", "../outside"),
    );
    assert_eq!(std::fs::read_link(bench.layer().join("a")).unwrap(), Path::new("../outside"));
    // And what then goes through it is refused, although a folder was there when its descriptor was kept.
    let swapped = tar().file("a/b", b"x").symlink("a", "../outside").file("a/precious", b"bad");
    Bench::new().refuses(&swapped.end(), "not followed");
}

#[test]
fn hard_links_out_of_the_layer_are_refused() {
    let bench = Bench::new();
    let target = format!("{}/precious", bench.outside());
    bench.refuses(&tar().hard_link("a", "../outside/precious").end(), "climbs");
    bench.refuses(&tar().hard_link("a", &target).end(), "not in this layer");
    bench.refuses(&tar().hard_link("a", "/etc/passwd").end(), "not in this layer");
    bench.refuses(&tar().symlink("l", &bench.outside()).hard_link("a", "l/precious").end(), "not followed");
}

#[test]
fn a_hard_link_to_a_symlink_is_the_link() {
    let bench = Bench::new();
    let target = format!("{}/precious", bench.outside());
    bench.contains(tar().symlink("l", &target).hard_link("a", "l").file("a", b"new"));
    assert_eq!(bench.read("a"), "new");
}

#[test]
fn hard_links_to_folders_whiteouts_and_themselves_are_refused() {
    Bench::new().refuses(&tar().dir("d").hard_link("a", "d").end(), "is a folder");
    Bench::new().refuses(&tar().file(".wh.d", b"").hard_link("a", "d").end(), "is taken away");
    Bench::new().refuses(&tar().hard_link("a", ".wh.d").end(), "takes something away");
    Bench::new().refuses(&tar().file("a", b"").hard_link("a", "a").end(), "link itself");
    Bench::new().refuses(&tar().hard_link("a", "./").end(), "folder");
}

#[test]
fn what_is_written_later_does_not_reach_other_names() {
    let bench = Bench::new();
    bench.contains(tar().file("a", b"first").hard_link("b", "a").file("a", b"second"));
    assert_eq!((bench.read("a"), bench.read("b")), ("second".to_owned(), "first".to_owned()));
}

#[test]
fn devices_are_left_out() {
    let bench = Bench::new();
    let report = bench.contains(
        tar().raw(Raw::new(b'3', b"null", 0), b"").raw(Raw::new(b'4', b"sda", 0), b"").file("x", b""),
    );
    assert_eq!(report.devices_left_out, 2);
    assert_eq!(walk(&bench.layer()), [bench.layer().join("x")]);
}

#[test]
fn a_device_does_not_take_a_whiteouts_place() {
    let bench = Bench::new();
    bench.contains(tar().raw(Raw::new(b'3', b"gone", 0), b"").file(".wh.other", b""));
    assert!(!bench.layer().join("gone").exists());
    assert!(bench.layer().join("other").symlink_metadata().unwrap().file_type().is_char_device());
}

#[test]
fn pipes_hold_nobody_up() {
    let bench = Bench::new();
    bench.contains(
        tar().raw(Raw::new(b'6', b"pipe", 0), b"").file("pipe2", b"").raw(Raw::new(b'6', b"pipe2", 0), b""),
    );
    assert!(bench.layer().join("pipe2").symlink_metadata().unwrap().file_type().is_fifo());
    // A file over it is a file; writing into the pipe would wait for ever.
    bench.contains(tar().raw(Raw::new(b'6', b"p", 0), b"").file("p", b"file"));
    assert_eq!(bench.read("p"), "file");
}

#[test]
fn whiteouts_of_impossible_names_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.x/y"] {
        Bench::new().refuses(&tar().file(name, b"").end(), "away");
    }
    Bench::new().refuses(&tar().symlink("a", "../outside").file("a/.wh.precious", b"").end(), "not followed");
    Bench::new().refuses(&tar().symlink("a", "../outside").file("a/.wh..wh..opq", b"").end(), "not followed");
}

#[test]
fn overlay_attributes_of_an_image_are_left_out() {
    let bench = Bench::new();
    let report = bench.contains(
        tar()
            .pax(&[
                ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
                ("SCHILY.xattr.trusted.overlay.metacopy", b""),
                ("SCHILY.xattr.security.selinux", b"x"),
                ("SCHILY.xattr.user.note", b"kept"),
            ])
            .dir("d"),
    );
    let mut list = vec![0; 1000];
    let length = rustix::fs::listxattr(bench.layer().join("d"), &mut list).unwrap();
    let names = String::from_utf8_lossy(&list[..length]);
    assert!(!names.contains("overlay") && !names.contains("selinux"), "{names}");
    assert!(report.attributes_left_out >= 4);
}

#[test]
fn sparse_files_are_refused() {
    Bench::new().refuses(&tar().raw(Raw::new(b'S', b"x", 5), b"12345").end(), "sparse");
    let pax: &[(&str, &[u8])] = &[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"1099511627776")];
    Bench::new().refuses(&tar().pax(pax).file("x", b"1").end(), "sparse");
}

#[test]
fn lying_sizes_are_refused() {
    Bench::new().refuses(&tar().raw(Raw::new(b'0', b"x", 1 << 30), b"short").cut(), "ends early");
    Bench::new().refuses(&tar().pax(&[("size", b"99999999999999999999")]).file("x", b"").end(), "size");
    let mut header = Raw::new(b'0', b"x", 0);
    header.put(124, &[0xff; 12]);
    Bench::new().refuses(&tar().raw(header, b"").end(), "size");
    let mut header = Raw::new(b'0', b"x", 0);
    header.put(124, b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    Bench::new().refuses(&tar().raw(header, b"").end(), "size");
}

#[test]
fn giant_extra_headers_are_refused() {
    Bench::new().refuses(&tar().raw(Raw::new(b'x', b"x", 1 << 40), b"").cut(), "one extra header");
    Bench::new().refuses(&tar().raw(Raw::new(b'L', b"x", 1 << 40), b"").cut(), "one extra header");
    Bench::new().refuses(&tar().pax(&[("path", b"evil")]).end(), "before nothing");
}

#[test]
fn global_headers_rename_nothing() {
    let record = pax_record("path", b"../outside/precious");
    Bench::new().refuses(&tar().extra(b'g', &record).file("x", b"bad").end(), "global");
    let record = pax_record("comment", b"a commit");
    Bench::new().contains(tar().extra(b'g', &record).file("x", b"fine"));
}

#[test]
fn damaged_headers_are_refused() {
    let mut bytes = tar().file("x", b"").end();
    bytes[0] ^= 1;
    Bench::new().refuses(&bytes, "checksum");
    Bench::new().refuses(&[b'x'; 1024], "checksum");
    Bench::new().refuses(&tar().raw(Raw::new(b'Q', b"x", 0), b"").end(), "unknown kind");
}

#[test]
fn too_many_entries_are_refused() {
    let many = (0..1001).fold(tar(), |tar, _| tar.dir("d"));
    Bench::new().refuses(&many.end(), "entries");
    let mut bench = Bench::new();
    bench.limits.remembered_bytes = 10_000;
    let many = (0..500).fold(tar(), |tar, number| tar.file(&format!(".wh.{number}"), b""));
    bench.refuses(&many.end(), "names of folders and whiteouts");
}

#[test]
fn decompression_bombs_are_bounded() {
    let mut bench = Bench::new();
    (bench.limits.stream_bytes, bench.limits.free_bytes, bench.limits.ratio) = (u64::MAX, 1 << 20, 20);
    let zeros = tar().file("zeros", &vec![0; 8 << 20]).end();
    bench.refuses(&gzip(&zeros), "for its compressed size");
    bench.refuses(&zstd(&zeros), "for its compressed size");
    // Behind the end mark as well.
    bench.refuses(&gzip(&[tar().end(), vec![0; 8 << 20]].concat()), "for its compressed size");
    (bench.limits.stream_bytes, bench.limits.free_bytes) = (1 << 20, u64::MAX);
    bench.refuses(&gzip(&zeros), "uncompressed bytes");
}

#[test]
fn a_bomb_of_many_gzip_members_is_bounded() {
    let mut bench = Bench::new();
    (bench.limits.free_bytes, bench.limits.ratio) = (1 << 20, 10);
    let member = gzip(&vec![0; 1 << 20]);
    bench.refuses(&member.repeat(40), "");
    assert!(walk(&bench.layer()).is_empty());
}

#[test]
fn damaged_compression_is_refused() {
    let whole = gzip(&tar().file("x", &[7; 5000]).end());
    Bench::new().refuses(&whole[..whole.len() - 20], "");
    let mut wrong = zstd(&tar().file("x", &[7; 5000]).end());
    let middle = wrong.len() / 2;
    wrong[middle..].fill(0xff);
    assert!(Bench::new().unpack(&wrong).is_err());
    Bench::new().refuses(b"\xfd7zXZ\0....", "xz");
    Bench::new().refuses(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0xf0, 1, 0, 0], "decompress");
}

#[test]
fn owners_that_no_box_has_are_refused() {
    let mut bench = Bench::new();
    bench.ownership = Ownership::Keep;
    bench.refuses(&tar().raw(Raw::new(b'0', b"x", 0).owner(65_536, 0), b"").end(), "65536");
    bench.refuses(&tar().pax(&[("gid", b"4294967295")]).file("x", b"").end(), "4294967295");
}

#[test]
fn control_characters_never_reach_a_terminal() {
    Bench::new().refuses(&tar().symlink("a\u{1b}[2Jb", "x").file("a\u{1b}[2Jb/c", b"").end(), "not followed");
    Bench::new().refuses(&tar().file("\u{1b}[31m/../x", b"").end(), "climbs");
}

#[test]
fn deep_folders_can_be_removed_again() {
    let path = vec!["deep"; 500].join("/");
    let bench = Bench::new();
    bench.contains(tar().pax(&[("path", path.as_bytes())]).file("x", b"").file("deep", b"a file instead"));
    assert_eq!(bench.read("deep"), "a file instead");
}

#[test]
fn folders_that_nobody_may_enter_are_filled_first() {
    let bench = Bench::new();
    let closed = |name: &[u8]| Raw::new(b'5', name, 0).mode(0o000);
    bench.contains(tar().raw(closed(b"a"), b"").raw(closed(b"a/b"), b"").file("a/b/c", b"x").dir("a/d"));
    let mode = bench.layer().join("a").symlink_metadata().unwrap().mode();
    assert_eq!(mode & 0o7777, 0);
}
