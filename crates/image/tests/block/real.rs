//! What erofs-utils and the kernel make of our images, beside what the store's own unpacked layers show.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use agentkernel_image::{ImportSource, StoredImage};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::crafted::{Raw, Tar};
use crate::scene::Scene;
use crate::seen::{Seen, assert_same, seen};

/// Something of everything, in three layers.
fn layers() -> Vec<Vec<u8>> {
    let noise = |size: usize| -> Vec<u8> { (0..size).map(|n| (n * 7 % 251) as u8).collect() };
    let mut lower = Tar::default()
        .raw(Raw::new(b'5', b"./", 0).mode(0o755), b"")
        .raw(Raw::new(b'5', b"private/", 0).mode(0o700).owner(1000, 1001), b"")
        .raw(Raw::new(b'5', b"tmp/", 0).mode(0o1777), b"")
        .raw(Raw::new(b'0', b"bin/su", 5).mode(0o4755), b"setid")
        .raw(Raw::new(b'0', b"bin/wall", 5).mode(0o2711).owner(0, 65_535), b"setid")
        .raw(Raw::new(b'6', b"pipe", 0).mode(0o620).owner(3, 4), b"")
        .raw(Raw::new(b'3', b"null", 0), b"")
        .symlink("link", "private/../bin")
        .hard_link("same-link", "link")
        .pax(&[("linkpath", &[b'l'; 4090][..])])
        .symlink("long-link", "x");
    for size in [0, 1, 3900, 4031, 4032, 4033, 4095, 4096, 4097, 8192, 12_300, 100_000, 3 << 20] {
        lower = lower.file(&format!("sizes/{size}"), &noise(size));
    }
    lower = lower.file("sizes/zeros", &vec![0; 2 << 20]).hard_link("private/100000", "sizes/100000");
    for number in 0..2000 {
        lower = lower.file(&format!("many/{number}-{}", "x".repeat(number % 200)), b"");
    }
    let name = [b'\xff'; 255];
    let path = vec!["deep"; 100].join("/");
    let capability = [&[1, 0, 0, 2, 0, 4, 0, 0][..], &[0; 12]].concat();
    lower = lower
        .pax(&[("path", &name[..])])
        .file("x", b"not UTF-8")
        .pax(&[("path", path.as_bytes())])
        .file("x", b"deep")
        .pax(&[("mtime", b"1700000000.123456789")])
        .file("times/later", b"")
        .pax(&[("mtime", b"-1.25")])
        .file("times/earlier", b"")
        .pax(&[("SCHILY.xattr.user.note", b"a note"), ("SCHILY.xattr.user.empty", b"")])
        .file("xattrs/file", b"content")
        .pax(&[("SCHILY.xattr.user.large", &[b'v'; 2000][..]), ("SCHILY.xattr.trusted.x", b"left out")])
        .dir("xattrs/folder/")
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .file("xattrs/ping", b"program")
        .file("gone/file", b"1")
        .file("hidden/lower", b"1")
        .file("replaced/by-folder", b"1")
        .file("replaced/by-file/below", b"1")
        .file("twice", b"first");
    let middle = Tar::default()
        .file(".wh.gone", b"")
        .file("hidden/.wh..wh..opq", b"")
        .file("hidden/upper", b"2")
        .file("replaced/by-folder/inside", b"2")
        .file("replaced/by-file", b"2")
        .file("many/.wh.0-", b"")
        .file("twice", b"second")
        .hard_link("twice-too", "twice")
        .raw(Raw::new(b'5', b"tmp/", 0).mode(0o700), b"");
    let upper =
        Tar::default().file("gone/again", b"3").file("unnamed/parent/file", b"3").file("twice", b"third");
    vec![lower.end(), middle.end(), upper.end()]
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn program(name: &str) -> bool {
    let there =
        ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|folder| Path::new(folder).join(name).exists());
    if !there {
        println!("SKIPPED: {name} is not installed; erofs-utils has it");
    }
    there
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

/// A file system that is mounted nowhere, gone with its descriptor, and a path into it.
fn mounted(kind: &str, options: &[(&str, &str)], flags: &[&str]) -> rustix::io::Result<(OwnedFd, PathBuf)> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        rustix::mount::fsconfig_set_string(&context, *name, *value)?;
    }
    for flag in flags {
        rustix::mount::fsconfig_set_flag(&context, *flag)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
    Ok((mount, path.join(".")))
}

/// The layers as boxes of the native backend see them.
fn overlay(layers: &[PathBuf]) -> (OwnedFd, PathBuf) {
    let lower: Vec<_> = layers.iter().rev().map(|layer| ("lowerdir+", layer.to_str().unwrap())).collect();
    mounted("overlay", &lower, &["userxattr"]).unwrap()
}

/// An image as a block device and as overlayfs shows its unpacked layers; `None` where that can't be asked here.
fn both(scene: &Scene, image: &StoredImage) -> Option<[BTreeMap<PathBuf, Seen>; 2]> {
    if !is_root() {
        println!("SKIPPED: file systems are mounted by root");
        return None;
    }
    let begun = std::time::Instant::now();
    let block = scene.store.block_image(&image.id).unwrap();
    let (bytes, unpacked_bytes, duration) = (block.bytes, image.bytes(), begun.elapsed());
    println!("{bytes} bytes of {unpacked_bytes} unpacked ones, made in {duration:?}");
    let (_mount, path) = match mounted("erofs", &[("source", block.path.to_str().unwrap())], &[]) {
        Ok(mounted) => mounted,
        Err(error) => {
            println!("SKIPPED: this kernel doesn't mount EROFS from a file: {error}");
            return None;
        }
    };
    let mut layers = scene.store.rootfs(&image.id).unwrap().layers;
    // overlayfs wants two at least.
    let empty = scene.dir.path().join("empty");
    std::fs::create_dir_all(&empty).unwrap();
    layers.insert(0, empty);
    let (_overlay, unpacked) = overlay(&layers);
    Some([seen(&path), seen(&unpacked)])
}

#[test]
fn the_kernel_shows_what_the_unpacked_layers_show() {
    let scene = Scene::new();
    let image = scene.image("app:1", &layers());
    let Some([shown, expected]) = both(&scene, &image) else { return };
    assert!(shown.len() > 2100, "{}", shown.len());
    assert_same(&shown, &expected);
    let same = |path: &str| shown[Path::new(path)].same_as.clone();
    assert_eq!(same("sizes/100000"), same("private/100000"));
    assert_eq!(shown[Path::new("xattrs/ping")].xattrs.len(), 1);
    assert_eq!(shown[Path::new("twice-too")].content, b"second");
}

#[test]
fn images_of_the_test_bed_are_the_same_both_ways() {
    let Ok(bed) = std::env::var("AGENTKERNEL_TEST_BED") else {
        println!("SKIPPED: AGENTKERNEL_TEST_BED is not set");
        return;
    };
    for name in ["busybox", "musl", "static", "debian"] {
        let scene = Scene::new();
        let path = Path::new(&bed).join(format!("images/{name}.docker.tar"));
        let imported = scene.import(ImportSource::Path(path), &[]).unwrap();
        let image = scene.store.get(&imported[0].id).unwrap().unwrap();
        let Some([shown, expected]) = both(&scene, &image) else { return };
        println!("{name}: {} files", shown.len());
        assert_same(&shown, &expected);
    }
}

#[test]
fn erofs_utils_accept_it_and_extract_the_same() {
    if !is_root() {
        println!("SKIPPED: owners are given by root");
        return;
    }
    if !program("fsck.erofs") || !program("dump.erofs") {
        return;
    }
    let scene = Scene::new();
    let image = scene.image("app:1", &layers());
    let block = scene.store.block_image(&image.id).unwrap();
    let file = block.path.to_str().unwrap();
    let said = run("fsck.erofs", &["-d3", file]);
    assert!(said.contains("No errors found"), "{said}");
    let said = run("dump.erofs", &["-s", file]);
    assert!(said.contains("sb_csum") && said.contains("mtime"), "{said}");
    let out = scene.dir.path().join("out");
    run("fsck.erofs", &[&format!("--extract={}", out.display()), "--preserve", file]);
    let rootfs = scene.store.rootfs(&image.id).unwrap();
    let (_overlay, unpacked) = overlay(&rootfs.layers);
    // It knows neither attributes nor hard links, and gives files away after their mode, which takes set-id bits: for
    // those the kernel is asked.
    let bare = |(path, one): (PathBuf, Seen)| {
        let mode = if one.mode & 0o170_000 == 0o100_000 { one.mode & !0o6000 } else { one.mode };
        (path, Seen { mode, xattrs: Default::default(), same_as: PathBuf::new(), ..one })
    };
    let extracted = seen(&out).into_iter().map(bare).collect();
    assert_same(&extracted, &seen(&unpacked).into_iter().map(bare).collect());
}
