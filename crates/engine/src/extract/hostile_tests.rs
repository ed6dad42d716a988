//! Streams that a hostile box might send, and what must not come of them.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::tar_maker::{Raw, Tar};
use super::{ArchiveError, Counts, ExtractError, Folder, Limits, Naming, extract};

/// A destination, a place beside it that must stay as it is, and what is asked for: the folder `top`.
struct Bench {
    dir: tempfile::TempDir,
    limits: Limits,
    naming: Naming,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dest")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/precious"), "precious").unwrap();
        let naming = Naming { top: Some(b"top".to_vec()), folder: true, rename: Some(b"top".to_vec()) };
        Self { dir, limits: Limits { headers: 1000, ..Limits::default() }, naming }
    }

    fn dest(&self) -> PathBuf {
        self.dir.path().join("dest")
    }

    fn run(&self, tar: &[u8]) -> (Result<(), ExtractError>, Counts) {
        let handle: OwnedFd = File::open(self.dest()).unwrap().into();
        let mut counts = Counts::default();
        let result = extract(tar, &self.naming, self.limits, &mut Folder::new(handle), &mut counts);
        self.outside_is_unharmed();
        (result, counts)
    }

    fn outside_is_unharmed(&self) {
        let mut names: Vec<_> =
            walk(self.dir.path()).into_iter().filter(|path| !path.starts_with(self.dest())).collect();
        names.sort();
        assert_eq!(names, [self.dir.path().join("outside"), self.dir.path().join("outside/precious")]);
        let precious = self.dir.path().join("outside/precious");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(precious.metadata().unwrap().nlink(), 1, "nothing links to it");
    }

    #[track_caller]
    fn takes(&self, tar: &[u8]) -> Counts {
        let (result, counts) = self.run(tar);
        result.unwrap();
        counts
    }

    /// Refused, with this in the message.
    #[track_caller]
    fn refuses(&self, tar: &[u8], what: &str) -> Counts {
        let (result, counts) = self.run(tar);
        let error = result.expect_err("refused").to_string();
        assert!(error.contains(what), "{error:?} doesn't say {what:?}");
        counts
    }
}

/// Everything below `dir`, links not followed.
fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}

fn top() -> Tar {
    Tar::default().dir("top/")
}

#[test]
fn an_honest_stream_comes_through() {
    let bench = Bench::new();
    let long = format!("top/{}/{}", "d".repeat(200), "f".repeat(200));
    let tar = top()
        .dir("top/sub")
        .file("top/sub/file", b"hello")
        .symlink("top/link", "../../anywhere")
        .hard_link("top/again", "top/sub/file")
        .pax(&[
            ("path", long.as_bytes()),
            ("mtime", b"1234.5"),
            ("SCHILY.xattr.security.capability", b"\x01\x00"),
        ])
        .file("short", b"long")
        .extra(b'L', format!("{long}2\0").as_bytes())
        .file("short", b"gnu")
        .end();
    let counts = bench.takes(&tar);
    assert_eq!((counts.files, counts.folders, counts.links, counts.bytes), (4, 2, 1, 12));
    let dest = bench.dest();
    assert_eq!(std::fs::read(dest.join("top/again")).unwrap(), b"hello");
    assert_eq!(std::fs::read_link(dest.join("top/link")).unwrap(), Path::new("../../anywhere"));
    assert_eq!(std::fs::read(dest.join(&long)).unwrap(), b"long");
    assert_eq!(dest.join(&long).metadata().unwrap().mtime(), 1234);
    assert_eq!(std::fs::read(dest.join(format!("{long}2"))).unwrap(), b"gnu");
}

#[test]
fn names_are_those_asked_for() {
    let mut bench = Bench::new();
    bench.naming.rename = Some(b"new".to_vec());
    bench.takes(&top().file("top/a", b"1").end());
    assert!(bench.dest().join("new/a").exists());
    bench.naming.rename = None;
    bench.takes(&top().file("top/b", b"1").end());
    assert!(bench.dest().join("b").exists());
    bench.naming = Naming { top: None, folder: true, rename: None };
    bench.takes(&Tar::default().dir("./").file("./c", b"1").end());
    assert!(bench.dest().join("c").exists());
}

#[test]
fn climbing_paths_are_refused() {
    let bench = Bench::new();
    for path in ["../outside/evil", "top/../../outside/evil", "top/..", "..", "top/a/../../../evil"] {
        bench.refuses(&top().file(path, b"evil").end(), "..");
        bench.refuses(&top().dir(path).end(), "..");
        bench.refuses(&top().symlink(path, "x").end(), "..");
        bench.refuses(&top().pax(&[("path", path.as_bytes())]).file("top/ok", b"evil").end(), "..");
        bench.refuses(&top().extra(b'L', path.as_bytes()).file("top/ok", b"evil").end(), "..");
    }
}

#[test]
fn absolute_paths_are_refused() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside/evil");
    bench.refuses(
        &top().pax(&[("path", outside.to_str().unwrap().as_bytes())]).file("x", b"evil").end(),
        "absolute",
    );
    bench.refuses(&top().file("/evil", b"evil").end(), "absolute");
    bench.refuses(&top().file("//top/evil", b"evil").end(), "absolute");
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let bench = Bench::new();
    bench.refuses(&Tar::default().file(".bashrc", b"evil").end(), "not asked for");
    bench.refuses(&top().file(".ssh/authorized_keys", b"evil").end(), "not asked for");
    bench.refuses(&top().file("topper", b"evil").end(), "not asked for");
    bench.refuses(&Tar::default().file("top", b"a file for a folder").end(), "not asked for");
    bench.refuses(&Tar::default().symlink("top", "/etc").end(), "not asked for");
    assert!(!bench.dest().join(".bashrc").exists());
}

#[test]
fn a_file_that_was_asked_for_stays_one() {
    let mut bench = Bench::new();
    bench.naming.folder = false;
    bench.refuses(&Tar::default().dir("top").end(), "not asked for");
    bench.refuses(&Tar::default().file("top/inner", b"x").end(), "not asked for");
    bench.takes(&Tar::default().file("top", b"x").end());
}

#[test]
fn writing_through_a_link_of_the_same_stream_is_refused() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    let tar = top().symlink("top/out", outside.to_str().unwrap()).file("top/out/evil", b"evil").end();
    bench.refuses(&tar, "symbolic link, which is not followed");
    let tar = top().symlink("top/up", "..").file("top/up/evil", b"evil").end();
    bench.refuses(&tar, "symbolic link, which is not followed");
    let tar = top().symlink("top/a", "b").symlink("top/b", "../../outside").dir("top/a/d").end();
    bench.refuses(&tar, "symbolic link, which is not followed");
}

#[test]
fn a_folder_over_a_link_of_the_same_stream_is_refused() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    let tar =
        top().symlink("top/out", outside.to_str().unwrap()).dir("top/out").file("top/out/evil", b"").end();
    bench.refuses(&tar, "not a folder");
}

#[test]
fn a_link_that_is_there_is_replaced_and_not_written_through() {
    let bench = Bench::new();
    std::fs::create_dir(bench.dest().join("top")).unwrap();
    symlink("../../outside/precious", bench.dest().join("top/file")).unwrap();
    symlink("../../outside", bench.dest().join("top/dir")).unwrap();
    bench.takes(&top().file("top/file", b"new").end());
    assert!(bench.dest().join("top/file").symlink_metadata().unwrap().is_file());
    bench.refuses(&top().file("top/dir/evil", b"evil").end(), "not followed");
    bench.refuses(&top().dir("top/dir").end(), "not a folder");
}

#[test]
fn a_hard_link_that_is_there_is_replaced_and_not_written_through() {
    let bench = Bench::new();
    std::fs::create_dir(bench.dest().join("top")).unwrap();
    let inside = bench.dest().join("top/kept");
    std::fs::write(&inside, "kept").unwrap();
    std::fs::hard_link(&inside, bench.dest().join("top/file")).unwrap();
    bench.takes(&top().file("top/file", b"new").end());
    assert_eq!(std::fs::read_to_string(inside).unwrap(), "kept");
}

#[test]
fn hard_links_lead_only_to_files_of_the_stream() {
    let bench = Bench::new();
    std::fs::create_dir(bench.dest().join("top")).unwrap();
    std::fs::write(bench.dest().join("top/older"), "mine").unwrap();
    bench.refuses(&top().hard_link("top/evil", "../outside/precious").end(), "..");
    bench.refuses(&top().hard_link("top/evil", "/etc/passwd").end(), "absolute");
    bench.refuses(&top().hard_link("top/evil", "top/older").end(), "not a file of the same copy");
    bench.refuses(
        &top().hard_link("top/evil", "top/later").file("top/later", b"").end(),
        "not a file of the same copy",
    );
    bench.refuses(&top().symlink("top/s", "../outside").hard_link("top/evil", "top/s").end(), "not a file");
    bench.refuses(&top().hard_link("top/evil", "top").end(), "not a file of the same copy");
    bench.refuses(&top().hard_link("top/evil", "else/x").end(), "not asked for");
    bench.refuses(&top().file("top/self", b"x").hard_link("top/self", "top/self").end(), "not a file");
    let replaced =
        top().file("top/f", b"x").symlink("top/f", "../../outside/precious").hard_link("top/evil", "top/f");
    bench.refuses(&replaced.end(), "not a file of the same copy");
}

#[test]
fn devices_and_pipes_are_left_out_and_reported() {
    let bench = Bench::new();
    let mut tar = top();
    for kind in [b'3', b'4', b'6'] {
        tar = tar.raw(Raw::new(kind, b"top/device", 0), b"");
    }
    let counts = bench.takes(&tar.file("top/after", b"x").end());
    assert_eq!((counts.skipped, counts.files), (3, 1));
    assert_eq!(counts.skipped_paths[0], "\"top/device\"");
    assert!(!bench.dest().join("top/device").exists());
}

#[test]
fn a_flood_of_devices_is_counted_and_not_listed() {
    let bench = Bench::new();
    let tar = (0..500).fold(top(), |tar, _| tar.raw(Raw::new(b'6', b"top/p", 0), b""));
    let counts = bench.takes(&tar.end());
    assert_eq!((counts.skipped, counts.skipped_paths.len()), (500, 100));
}

#[test]
fn special_mode_bits_and_owners_are_dropped() {
    let bench = Bench::new();
    let file = Raw::new(b'0', b"top/suid", 0).mode(0o7777);
    let dir = Raw::new(b'5', b"top/sticky", 0).mode(0o7777);
    let closed = Raw::new(b'5', b"top/closed", 0).mode(0o000);
    bench.takes(&top().raw(file, b"").raw(dir, b"").raw(closed, b"").file("top/closed/file", b"x").end());
    for path in ["top/suid", "top/sticky"] {
        let found = bench.dest().join(path).metadata().unwrap();
        assert_eq!(found.permissions().mode() & 0o7000, 0, "{path}");
        assert_eq!(found.uid(), rustix::process::geteuid().as_raw());
    }
    let closed = bench.dest().join("top/closed").metadata().unwrap().permissions().mode();
    assert_eq!(closed & 0o777, 0o700, "it can be entered and deleted");
}

#[test]
fn long_name_bombs_are_bounded() {
    let mut bench = Bench::new();
    let huge = Raw::new(b'L', b"extra", 8 << 30);
    bench.refuses(&top().raw(huge, b"").cut(), "one extra header");
    let huge = Raw::new(b'x', b"extra", 1 << 20);
    bench.refuses(&top().raw(huge, b"").cut(), "one extra header");
    let path = format!("top/{}", "a/".repeat(3000));
    bench.refuses(&top().extra(b'L', path.as_bytes()).file("x", b"").end(), "too long");
    let path = format!("top/{}", "a".repeat(256));
    bench.refuses(&top().pax(&[("path", path.as_bytes())]).file("x", b"").end(), "255 bytes");
    bench.limits.extra_headers_bytes = 1000;
    let tar = (0..20).fold(top(), |tar, _| tar.pax(&[("comment", &[b'c'; 100])]).file("top/f", b""));
    bench.refuses(&tar.end(), "extra headers");
}

#[test]
fn deep_nesting_is_bounded() {
    let mut bench = Bench::new();
    bench.limits.depth = 20;
    let path = format!("top{}", "/d".repeat(20));
    bench.refuses(&top().dir(&path).end(), "nested too deep");
    bench.takes(&top().dir(&format!("top{}", "/d".repeat(19))).end());
}

#[test]
fn floods_of_entries_and_of_extra_headers_are_bounded() {
    let mut bench = Bench::new();
    bench.limits.headers = 50;
    let tar = (0..60).fold(top(), |tar, n| tar.file(&format!("top/{n}"), b""));
    let counts = bench.refuses(&tar.end(), "entries (limit 50)");
    assert_eq!(counts.files, 49, "what came before is there and reported");
    let tar = (0..60).fold(top(), |tar, _| tar.pax(&[("comment", b"c")]));
    bench.refuses(&tar.end(), "entries (limit 50)");
}

#[test]
fn more_bytes_than_there_is_room_for_are_refused_unread() {
    let mut bench = Bench::new();
    bench.limits.content_bytes = 1000;
    bench.refuses(&top().raw(Raw::new(b'0', b"top/huge", 1 << 30), b"").cut(), "room in the destination");
    assert!(!bench.dest().join("top/huge").exists());
    let tar = top().file("top/a", &[1; 600]).file("top/b", &[2; 600]).end();
    assert_eq!(bench.refuses(&tar, "room in the destination").files, 1);
    bench.limits.content_bytes = u64::MAX;
    let sum_overflows =
        top().pax(&[("size", b"18446744073709551615")]).raw(Raw::new(b'0', b"top/a", 0), b"").cut();
    bench.refuses(&sum_overflows, "early");
}

#[test]
fn sizes_that_lie_are_refused() {
    let bench = Bench::new();
    for (kind, name) in [(b'5', "top/d"), (b'2', "top/s"), (b'1', "top/h"), (b'6', "top/p")] {
        let raw = Raw::new(kind, name.as_bytes(), 512).link(b"top/f");
        bench.refuses(&top().file("top/f", b"x").raw(raw, &[0x41; 512]).end(), "has content");
    }
    let mut negative = Raw::new(b'0', b"top/n", 0);
    negative.put(124, &[0xff; 12]);
    bench.refuses(&top().raw(negative, b"").end(), "negative");
    let mut text = Raw::new(b'0', b"top/n", 0);
    text.put(124, b"12345678912\0");
    bench.refuses(&top().raw(text, b"").end(), "no number");
    bench.refuses(&top().pax(&[("size", b"-1")]).file("top/n", b"").end(), "no number");
}

#[test]
fn half_a_file_is_not_left() {
    let bench = Bench::new();
    let mut tar = top().file("top/whole", b"whole").file("top/half", &[7; 2000]).cut();
    tar.truncate(tar.len() - 1000);
    let counts = bench.refuses(&tar, "could not write");
    assert_eq!(counts.files, 1);
    assert!(bench.dest().join("top/whole").exists() && !bench.dest().join("top/half").exists());
}

#[test]
fn a_stream_without_its_end_mark_is_an_error() {
    let bench = Bench::new();
    bench.refuses(&top().file("top/a", b"a").cut(), "ended early");
    bench.refuses(b"", "ended early");
    bench.refuses(&top().cut()[..300], "ended early");
    bench.refuses(&top().pax(&[("path", b"top/x")]).end(), "stands before nothing");
}

#[test]
fn checksums_are_checked() {
    let bench = Bench::new();
    let mut tar = top().file("top/a", b"a").end();
    tar[512] ^= 1;
    bench.refuses(&tar, "checksum");
}

#[test]
fn sparse_and_unknown_kinds_are_refused() {
    let bench = Bench::new();
    for kind in *b"SVMDNAZ" {
        bench.refuses(&top().raw(Raw::new(kind, b"top/x", 0), b"").end(), "not supported");
    }
    let tar = top().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"/etc/x")]).file("top/s", b"");
    bench.refuses(&tar.end(), "sparse");
}

#[test]
fn global_headers_cant_rename() {
    let bench = Bench::new();
    let record = super::tar_maker::pax_record("path", b"top/renamed");
    bench.refuses(&top().extra(b'g', &record).file("top/a", b"").end(), "global header");
    let comment = super::tar_maker::pax_record("comment", b"hello");
    bench.takes(&top().extra(b'g', &comment).file("top/a", b"").end());
}

#[test]
fn nul_bytes_in_pax_names_are_refused() {
    let bench = Bench::new();
    bench.refuses(&top().pax(&[("path", b"top/a\0b")]).file("x", b"").end(), "NUL");
    bench.refuses(&top().pax(&[("linkpath", b"a\0b")]).symlink("top/s", "x").end(), "NUL");
    bench.refuses(&top().extra(b'L', b"top/a\0b\0").file("x", b"").end(), "NUL");
}

#[test]
fn nameless_and_rootless_entries_are_refused() {
    let bench = Bench::new();
    bench.refuses(&top().file("", b"").end(), "empty");
    bench.refuses(&top().file("top/name/", b"").end(), "needs a name");
    bench.refuses(&top().file(".", b"").end(), "needs a name");
    bench.refuses(&top().symlink("./", "x").end(), "only a folder");
    bench.refuses(&top().symlink("top/s", "").end(), "needs a target");
}

#[test]
fn files_and_folders_dont_replace_each_other() {
    let bench = Bench::new();
    bench.refuses(&top().dir("top/x").file("top/x", b"").end(), "it is a folder");
    bench.refuses(&top().file("top/y", b"").dir("top/y").end(), "not a folder");
    bench.refuses(
        &top().file("top/z", b"").file("top/z/inner", b"").end(),
        "a file, where a folder is needed",
    );
    bench.refuses(&top().dir("top/w").symlink("top/w", "..").end(), "it is a folder");
}

#[test]
fn terminal_escapes_in_names_are_shown_harmless() {
    let bench = Bench::new();
    let (result, _) = bench.run(&Tar::default().file("\x1b[2Jevil", b"").end());
    let shown = result.unwrap_err().to_string();
    assert!(!shown.contains('\x1b'), "{shown:?}");
    let (result, _) = bench.run(&Tar::default().file("/\x1b[2Jevil", b"").end());
    assert!(!result.unwrap_err().to_string().contains('\x1b'));
}

#[test]
fn a_broken_source_is_told_from_a_hostile_one() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the box ended"))
        }
    }
    let bench = Bench::new();
    let handle: OwnedFd = File::open(bench.dest()).unwrap().into();
    let result =
        extract(Broken, &bench.naming, bench.limits, &mut Folder::new(handle), &mut Counts::default());
    assert!(matches!(result, Err(ExtractError::Archive(ArchiveError::Read { .. }))));
}

fn any_entry() -> impl Strategy<Value = Tar> {
    let path = proptest::sample::select(vec![
        "top",
        "top/",
        "top/a",
        "top/a/b",
        "top/a/../b",
        "top/l",
        "top/l/x",
        "../outside/precious",
        "/etc/x",
        "top/./b",
        "",
        "other",
    ]);
    let target =
        proptest::sample::select(vec!["a", "..", "../../outside", "top/a", "top/l", "/", "top/a/b", "l"]);
    let kind = proptest::sample::select(b"0125367xgLKS\0".to_vec());
    (path, target, kind, 0u32..0o10000, proptest::collection::vec(any::<u8>(), 0..600)).prop_map(
        |(path, target, kind, mode, content)| match kind {
            b'x' | b'g' => Tar::default().extra(kind, &super::tar_maker::pax_record("path", path.as_bytes())),
            b'L' | b'K' => Tar::default().extra(kind, path.as_bytes()),
            b'0' | 0 | b'7' => {
                Tar::default().raw(Raw::new(kind, path.as_bytes(), content.len() as u64).mode(mode), &content)
            }
            _ => {
                Tar::default().raw(Raw::new(kind, path.as_bytes(), 0).link(target.as_bytes()).mode(mode), b"")
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_harm(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        drop(Bench::new().run(&bytes));
    }

    #[test]
    fn arbitrary_entries_never_harm(entries in proptest::collection::vec(any_entry(), 0..12), flip in any::<Option<u16>>()) {
        let mut tar: Vec<u8> = entries.into_iter().flat_map(Tar::cut).collect();
        tar.extend_from_slice(&[0; 1024]);
        if let Some(flip) = flip {
            let at = usize::from(flip) % tar.len();
            tar[at] ^= 0x15;
        }
        let bench = Bench::new();
        drop(bench.run(&tar));
        for path in walk(&bench.dest()) {
            let found = path.symlink_metadata().unwrap();
            prop_assert!(found.is_file() || found.is_dir() || found.is_symlink());
            prop_assert_eq!(found.permissions().mode() & if found.is_symlink() { 0 } else { 0o7000 }, 0);
            prop_assert!(path.starts_with(bench.dest().join("top")), "{:?}", path);
        }
    }
}
