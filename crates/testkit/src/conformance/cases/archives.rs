//! Tar streams in and out.

use std::collections::BTreeMap;
use std::io::Read;

use agentkernel_backend::BackendError;

use super::super::ask::{content, path, pattern, read_all, shell};
use super::super::scene::Scene;

fn names_of(archive: &[u8]) -> BTreeMap<String, (tar::EntryType, u32, Vec<u8>)> {
    let mut entries = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().expect("a tar stream") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").to_string_lossy().trim_end_matches('/').to_owned();
        let (kind, mode) = (entry.header().entry_type(), entry.header().mode().expect("a mode") & 0o7777);
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("readable");
        if let Some(target) = entry.link_name().expect("a link") {
            bytes = target.to_string_lossy().into_owned().into_bytes();
        }
        entries.insert(name, (kind, mode, bytes));
    }
    entries
}

pub(in super::super) async fn roundtrip(scene: &Scene) {
    let guest = scene.guest().await;
    guest.make_dir(&path("/tmp/src/sub"), None).await.expect("made");
    guest.write_file(&path("/tmp/src/f"), Some(0o640), content(pattern(100_000))).await.expect("written");
    guest.write_file(&path("/tmp/src/sub/tool"), Some(0o755), content("#!/bin/sh\n")).await.expect("written");
    shell(&*guest, "ln -s ../f /tmp/src/sub/link").await;
    let archive = read_all(guest.tar_out(&path("/tmp/src")).await.expect("a stream")).await;
    let entries = names_of(&archive);
    assert_eq!(entries["src/f"], (tar::EntryType::Regular, 0o640, pattern(100_000)));
    assert_eq!(entries["src/sub/tool"].1, 0o755);
    assert_eq!(
        (entries["src/sub/link"].0, &*entries["src/sub/link"].2),
        (tar::EntryType::Symlink, &b"../f"[..])
    );
    assert!(entries.keys().all(|name| name.starts_with("src")), "{:?}", entries.keys());

    guest.tar_in(&path("/tmp/new/place"), content(archive)).await.expect("unpacked");
    let again = read_all(guest.tar_out(&path("/tmp/new/place/src")).await.expect("a stream")).await;
    assert_eq!(names_of(&again), entries);
}

pub(in super::super) async fn of_one_file(scene: &Scene) {
    let guest = scene.guest().await;
    guest.write_file(&path("/tmp/one"), Some(0o600), content("alone")).await.expect("written");
    let archive = read_all(guest.tar_out(&path("/tmp/one")).await.expect("a stream")).await;
    let entries = names_of(&archive);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries["one"], (tar::EntryType::Regular, 0o600, b"alone".to_vec()));
}

pub(in super::super) async fn replaces_what_is_there(scene: &Scene) {
    let guest = scene.guest().await;
    guest.make_dir(&path("/tmp/d"), None).await.expect("made");
    guest.write_file(&path("/tmp/d/f"), None, content("old and longer")).await.expect("written");
    guest.write_file(&path("/tmp/d/other"), None, content("stays")).await.expect("written");
    guest.tar_in(&path("/tmp/d"), content(archive(&[file("f", b"new")]))).await.expect("unpacked");
    assert_eq!(shell(&*guest, "cat /tmp/d/f /tmp/d/other").await, "newstays");
}

enum Entry {
    File(&'static str, Vec<u8>),
    Link(&'static str, &'static str),
    HardLink(&'static str, &'static str),
}

fn file(name: &'static str, bytes: &[u8]) -> Entry {
    Entry::File(name, bytes.to_vec())
}

/// A tar stream with whatever names, as an attacker would write it.
fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let (name, kind, target, bytes): (_, _, _, &[u8]) = match entry {
            Entry::File(name, bytes) => (name, tar::EntryType::Regular, "", bytes),
            Entry::Link(name, target) => (name, tar::EntryType::Symlink, target, b""),
            Entry::HardLink(name, target) => (name, tar::EntryType::Link, target, b""),
        };
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        // The safe setters refuse what this is made for.
        let fields = header.as_ustar_mut().expect("a ustar header");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        builder.append(&header, bytes).expect("memory takes all");
    }
    builder.into_inner().expect("memory takes all")
}

pub(in super::super) async fn escapes_are_refused(scene: &Scene) {
    let guest = scene.guest().await;
    let attacks: [(&str, Vec<Entry>); 6] = [
        ("up", vec![file("../evil", b"x")]),
        ("up from below", vec![file("a/../../evil", b"x")]),
        ("absolute", vec![file("/tmp/evil", b"x")]),
        ("through a link up", vec![Entry::Link("l", ".."), file("l/evil", b"x")]),
        ("through an absolute link", vec![Entry::Link("l", "/tmp"), file("l/evil", b"x")]),
        ("hard link out", vec![Entry::HardLink("l", "../secret"), file("l", b"x")]),
    ];
    shell(&*guest, "echo secret > /tmp/secret").await;
    for (what, entries) in attacks {
        let result = guest.tar_in(&path("/tmp/in"), content(archive(&entries))).await;
        assert!(matches!(result, Err(BackendError::Invalid { .. })), "{what}: {result:?}");
        let text = "test -e /tmp/evil && echo escaped; cat /tmp/secret; rm -rf /tmp/in";
        assert_eq!(shell(&*guest, text).await, "secret\n", "{what}");
    }
}

pub(in super::super) async fn broken_streams_are_refused(scene: &Scene) {
    let guest = scene.guest().await;
    let whole = archive(&[file("f", &pattern(100_000))]);
    for (what, bytes) in [("cut short", &whole[..50_000]), ("not tar at all", &pattern(5000)[..])] {
        let result = guest.tar_in(&path("/tmp/in"), content(bytes)).await;
        assert!(result.is_err(), "{what} was taken");
    }
    assert_eq!(shell(&*guest, "echo fine").await, "fine\n");
}
