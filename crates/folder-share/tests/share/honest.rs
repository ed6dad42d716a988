//! What a guest may do, as its kernel asks for it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::client::Part::{Large, Name, Small};
use crate::client::{large, libc_flags as flags, mode_and_owner, small};
use crate::served::{Served, served};

const ROOT: u64 = 1;

pub(crate) fn content_goes_both_ways() {
    let Served { place, mut client, .. } = served(false);
    fs::write(place.path().join("from-host"), "host").unwrap();
    let node = client.look_up(ROOT, "from-host").unwrap();
    let handle = client.open(node, flags::RDWR).unwrap();
    assert_eq!(client.read(handle, 0, 4096).unwrap(), b"host");
    assert_eq!(client.read(handle, 2, 1).unwrap(), b"s");
    assert_eq!(client.read(handle, 99, 10).unwrap(), b"");
    assert_eq!(client.write(handle, 4, b" and guest").unwrap(), 10);
    assert_eq!(fs::read(place.path().join("from-host")).unwrap(), b"host and guest");
    fs::write(place.path().join("from-host"), "changed").unwrap();
    assert_eq!(client.read(handle, 0, 4096).unwrap(), b"changed", "the host's change shows at once");
    client.ask(18, node, &[Large(handle), Large(0), Large(0)]).unwrap();
    assert_eq!(client.read(handle, 0, 1), Err(9), "a closed handle is none");
    let (_, handle) = client.create(ROOT, "new", 0o640).unwrap();
    let content = vec![b'x'; 100_000];
    assert_eq!(client.write(handle, 0, &content).unwrap(), 100_000);
    assert_eq!(fs::read(place.path().join("new")).unwrap(), content);
    let truncated = client.look_up(ROOT, "new").unwrap();
    client.open(truncated, flags::WRONLY | flags::TRUNC).unwrap();
    assert_eq!(fs::metadata(place.path().join("new")).unwrap().len(), 0);
}

pub(crate) fn names_are_made_moved_and_removed() {
    let Served { place, mut client, .. } = served(false);
    let at = |name: &str| place.path().join(name);
    let made = client.ask(9, ROOT, &[Small(0o755), Small(0), Name("sub")]).unwrap();
    let sub = large(&made, 0);
    client.create(sub, "file", 0o644).unwrap();
    client.ask(12, sub, &[Large(ROOT), Name("file"), Name("moved")]).unwrap();
    assert!(at("moved").exists() && !at("sub/file").exists());
    let node = client.look_up(ROOT, "moved").unwrap();
    let other = client.ask(13, sub, &[Large(node), Name("hard")]).unwrap();
    assert_eq!(large(&other, 0), node, "one file is one node");
    assert_eq!(fs::metadata(at("moved")).unwrap().nlink(), 2);
    let no_replace = [Large(sub), Small(1), Small(0), Name("moved"), Name("hard")];
    assert_eq!(client.ask(45, ROOT, &no_replace), Err(17));
    assert_eq!(client.ask(11, ROOT, &[Name("sub")]), Err(39), "it is not empty");
    client.ask(10, sub, &[Name("hard")]).unwrap();
    client.ask(11, ROOT, &[Name("sub")]).unwrap();
    client.ask(6, ROOT, &[Name("link"), Name("any/where")]).unwrap();
    assert_eq!(fs::read_link(at("link")).unwrap().to_str(), Some("any/where"));
    let link = client.look_up(ROOT, "link").unwrap();
    assert_eq!(client.ask(5, link, &[]).unwrap(), b"any/where");
    client.ask(8, ROOT, &[Small(0o010_644), Small(0), Small(0), Small(0), Name("pipe")]).unwrap();
    client.ask(8, ROOT, &[Small(0o140_755), Small(0), Small(0), Small(0), Name("socket")]).unwrap();
    assert_eq!(client.list(ROOT, 4096), ["link", "moved", "pipe", "socket"]);
}

pub(crate) fn large_folders_are_listed_in_pieces() {
    let Served { place, mut client, .. } = served(false);
    let names: Vec<String> = (0..1000).map(|number| format!("file-{number:04}")).collect();
    for name in &names {
        fs::write(place.path().join(name), "").unwrap();
    }
    for size in [128, 4096, u32::MAX] {
        assert_eq!(client.list(ROOT, size), names, "{size}");
    }
}

pub(crate) fn attributes_are_read_and_set() {
    let Served { place, mut client, .. } = served(false);
    fs::write(place.path().join("f"), "12345").unwrap();
    let node = client.look_up(ROOT, "f").unwrap();
    let set = |valid: u32, size: u64, time: u64, mode: u32, user: u32| {
        let head = [Small(valid), Small(0), Large(0), Large(size), Large(0), Large(time), Large(time)];
        let tail =
            [Large(0), Small(7), Small(7), Small(0), Small(mode), Small(0), Small(user), Small(0), Small(0)];
        [head.as_slice(), &tail].concat()
    };
    let told = client.ask(4, node, &set(1 | 8 | 16 | 32, 3, 1_000_000, 0o100_600, 0)).unwrap();
    assert_eq!((large(&told, 0), small(&told, 8)), (0, 0), "nothing is believed for longer than now");
    assert_eq!(large(&told, 24), 3);
    let found = fs::metadata(place.path().join("f")).unwrap();
    assert_eq!((found.len(), found.mode() & 0o7777), (3, 0o600));
    assert_eq!((found.mtime(), found.mtime_nsec(), found.atime()), (1_000_000, 7, 1_000_000));
    let told = client.ask(3, node, &[Small(0), Small(0), Large(0)]).unwrap();
    assert_eq!(mode_and_owner(&told, 16), [0o100_600, 1, 0, 0], "the owner's files are root's");
    client.ask(4, node, &set(2, 0, 0, 0, 0)).unwrap();
    assert_eq!(client.ask(4, node, &set(2, 0, 0, 0, 1000)), Err(1), "nobody else is there to be given it");
    assert_eq!(client.ask(17, ROOT, &[]).unwrap().len(), 80);
    fs::set_permissions(place.path().join("f"), PermissionsExt::from_mode(0o644)).unwrap();
    let told = client.ask(3, node, &[Small(0), Small(0), Large(0)]).unwrap();
    assert_eq!(mode_and_owner(&told, 16)[0], 0o100_644);
}

pub(crate) fn what_is_removed_stays_open() {
    let Served { place, mut client, .. } = served(false);
    let (node, handle) = client.create(ROOT, "temporary", 0o600).unwrap();
    fs::remove_file(place.path().join("temporary")).unwrap();
    assert_eq!(client.write(handle, 0, b"still").unwrap(), 5);
    assert_eq!(client.read(handle, 0, 10).unwrap(), b"still");
    let again = client.open(node, flags::RDONLY).unwrap();
    assert_eq!(client.read(again, 0, 10).unwrap(), b"still");
    assert_eq!(client.look_up(ROOT, "temporary"), Err(2));
}

pub(crate) fn many_at_once_are_answered_each_with_its_own() {
    let Served { place, mut client, .. } = served(false);
    for number in 0..50 {
        fs::write(place.path().join(number.to_string()), number.to_string()).unwrap();
    }
    let mut sent = Vec::new();
    for number in 0..50u64 {
        let name = format!("{number}\0");
        sent.extend(crate::client::message(1, 1000 + number, ROOT, name.as_bytes()));
    }
    client.send(&sent);
    let mut heard: Vec<u64> = (0..50)
        .map(|_| {
            let (unique, entry) = client.receive();
            assert_eq!(large(&entry.unwrap(), 48), (unique - 1000).to_string().len() as u64);
            unique
        })
        .collect();
    heard.sort();
    assert_eq!(heard, (1000..1050).collect::<Vec<_>>());
}

pub(crate) fn a_read_only_share_changes_nothing() {
    let Served { place, mut client, .. } = served(true);
    fs::write(place.path().join("f"), "host").unwrap();
    let node = client.look_up(ROOT, "f").unwrap();
    assert_eq!(client.open(node, flags::RDWR), Err(30));
    assert_eq!(client.open(node, flags::TRUNC), Err(30));
    let handle = client.open(node, flags::RDONLY).unwrap();
    assert_eq!(client.read(handle, 0, 10).unwrap(), b"host");
    assert_eq!(client.write(handle, 0, b"x"), Err(30));
    assert_eq!(client.create(ROOT, "new", 0o644), Err(30));
    for operation in [4, 6, 8, 9, 10, 11, 12, 13, 35, 43, 45] {
        assert_eq!(client.ask(operation, ROOT, &[Name("f")]), Err(30), "{operation}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

pub(crate) fn links_are_told_and_not_followed() {
    let Served { place, outside, mut client, .. } = served(false);
    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path(), place.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), place.path().join("file")).unwrap();
    for (name, error) in [("out", 20), ("file", 20)] {
        let node = client.look_up(ROOT, name).unwrap();
        assert_eq!(client.look_up(node, "secret"), Err(error), "{name}");
        assert_eq!(client.open(node, flags::RDONLY), Err(40), "{name}");
        assert_eq!(client.ask(27, node, &[Small(0), Small(0)]), Err(20), "{name}");
    }
    assert_eq!(client.create(ROOT, "file", 0o644), Err(40));
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
}
