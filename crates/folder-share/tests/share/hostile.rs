//! What a guest that writes its own messages can't do.

use std::fs;
use std::io::Read;

use crate::client::Part::{Large, Name, Small};
use crate::client::{Client, libc_flags as flags, message};
use crate::served::{Served, served, served_bare};

const ROOT: u64 = 1;

pub(crate) fn names_lead_nowhere_else() {
    let Served { place, outside, mut client, .. } = served(false);
    fs::write(outside.path().join("f"), "outside").unwrap();
    let outside_name = outside.path().file_name().unwrap().to_str().unwrap().to_owned();
    let absolute = outside.path().join("f").to_str().unwrap().to_owned();
    let up = format!("../{outside_name}/f");
    for name in ["..", ".", "", "/", "a/b", &absolute, &up, "./f", "sub/../.."] {
        assert_eq!(client.look_up(ROOT, name), Err(22), "{name:?}");
        assert_eq!(client.create(ROOT, name, 0o644).err(), Some(22), "{name:?}");
        assert_eq!(client.ask(9, ROOT, &[Small(0o755), Small(0), Name(name)]), Err(22), "{name:?}");
        assert_eq!(client.ask(10, ROOT, &[Name(name)]), Err(22), "{name:?}");
        assert_eq!(client.ask(11, ROOT, &[Name(name)]), Err(22), "{name:?}");
        assert_eq!(client.ask(6, ROOT, &[Name(name), Name("x")]), Err(22), "{name:?}");
        assert_eq!(client.ask(12, ROOT, &[Large(ROOT), Name("x"), Name(name)]), Err(22), "{name:?}");
        assert_eq!(client.ask(12, ROOT, &[Large(ROOT), Name(name), Name("x")]), Err(22), "{name:?}");
        assert_eq!(client.ask(13, ROOT, &[Large(ROOT), Name(name)]), Err(22), "{name:?}");
    }
    assert_eq!(client.look_up(ROOT, &"n".repeat(256)), Err(36));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"outside");
}

pub(crate) fn what_was_never_given_is_not_there() {
    let Served { place, mut client, .. } = served(false);
    fs::write(place.path().join("f"), "x").unwrap();
    let handle = {
        let node = client.look_up(ROOT, "f").unwrap();
        client.open(node, flags::RDONLY).unwrap()
    };
    for node in [0, 3, 99, u64::MAX] {
        assert_eq!(client.look_up(node, "f"), Err(116), "{node}");
        assert_eq!(client.open(node, 0), Err(116), "{node}");
        assert_eq!(client.ask(13, ROOT, &[Large(node), Name("h")]), Err(116), "{node}");
        assert_eq!(client.ask(12, ROOT, &[Large(node), Name("f"), Name("g")]), Err(116), "{node}");
    }
    for wrong in [0, handle + 1, u64::MAX] {
        assert_eq!(client.read(wrong, 0, 1), Err(9), "{wrong}");
        assert_eq!(client.write(wrong, 0, b"x"), Err(9), "{wrong}");
        assert_eq!(client.ask(18, ROOT, &[Large(wrong), Large(0), Large(0)]), Err(9), "{wrong}");
    }
    // A file's handle is no folder's, nor the other way round.
    assert_eq!(
        client.ask(28, ROOT, &[Large(handle), Large(0), Small(4096), Small(0), Large(0), Large(0)]),
        Err(20)
    );
    assert_eq!(client.write(handle, 0, b"x"), Err(9), "it is open for reading");
    // What is forgotten more often than it was told is only forgotten.
    client.send(&message(2, 0, 2, &u64::MAX.to_ne_bytes()));
    client.send(&message(2, 0, ROOT, &u64::MAX.to_ne_bytes()));
    assert!(client.look_up(ROOT, "f").is_ok());
}

pub(crate) fn nothing_privileged_is_made() {
    let Served { place, mut client, .. } = served(false);
    for kind in [0o020_000, 0o060_000, 0o040_000, 0o120_000, 0] {
        let parts = [Small(kind | 0o666), Small(0x0103), Small(0), Small(0), Name("device")];
        assert_eq!(client.ask(8, ROOT, &parts), Err(1), "{kind:o}");
    }
    for mode in [0o4755, 0o2755, 0o6755] {
        assert_eq!(client.create(ROOT, "raised", mode).err(), Some(1), "{mode:o}");
        let parts = [Small(0o100_000 | mode), Small(0), Small(0), Small(0), Name("raised")];
        assert_eq!(client.ask(8, ROOT, &parts), Err(1), "{mode:o}");
    }
    assert_eq!(client.ask(9, ROOT, &[Small(0o4755), Small(0), Name("raised")]), Err(1));
    let whiteout = [Large(ROOT), Small(4), Small(0), Name("a"), Name("b")];
    assert_eq!(client.ask(45, ROOT, &whiteout), Err(22));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    // Nor does it wait for what never comes, or open what is a device on the host.
    rustix::fs::mkfifoat(rustix::fs::CWD, place.path().join("pipe"), 0o666.into()).unwrap();
    let pipe = client.look_up(ROOT, "pipe").unwrap();
    assert_eq!(client.open(pipe, flags::RDONLY), Err(6));
    assert_eq!(client.create(ROOT, "pipe", 0o644).err(), Some(6));
}

pub(crate) fn unknown_and_cut_messages_are_errors() {
    let Served { mut client, .. } = served(false);
    for operation in
        [0, 7, 19, 21, 22, 23, 24, 31, 33, 34, 37, 39, 40, 41, 44, 47, 48, 49, 51, 52, 4096, u32::MAX]
    {
        assert_eq!(client.ask(operation, ROOT, &[Large(0); 8]), Err(38), "{operation}");
    }
    for operation in [1, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20, 28, 35, 43, 45, 46] {
        assert_eq!(client.ask(operation, ROOT, &[]), Err(22), "{operation}");
    }
    assert_eq!(client.ask(26, 0, &[Small(7), Small(41), Small(0), Small(0)]), Err(5), "a second beginning");
    // A write that says more than it has.
    let said = [Large(1), Large(0), Small(u32::MAX), Small(0), Large(0), Small(0), Small(0)];
    assert_eq!(client.ask(16, ROOT, &said), Err(22));
    assert!(client.ask(3, ROOT, &[Small(0), Small(0), Large(0)]).is_ok());
}

pub(crate) fn nothing_is_done_before_the_beginning() {
    let Served { mut client, .. } = served_bare(false);
    assert_eq!(client.look_up(ROOT, "f"), Err(5));
    assert_eq!(client.ask(26, 0, &[Small(6), Small(41), Small(0), Small(0)]), Err(71));
    assert_eq!(client.ask(26, 0, &[Small(7), Small(12), Small(0), Small(0)]), Err(71));
    assert_eq!(client.look_up(ROOT, "f"), Err(5));
}

pub(crate) fn a_length_that_is_none_ends_the_stream() {
    for length in [0, 1, 39, 1 << 20, u32::MAX] {
        let Served { mut client, serving, .. } = served(false);
        client.send(&length.to_ne_bytes());
        let mut rest = Vec::new();
        client.stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
        let error = serving.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{length}");
    }
}

pub(crate) fn who_asks_and_never_listens_ends_like_others() {
    let Served { mut client, serving, .. } = served(false);
    client.stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let question = message(17, 1, ROOT, &[]).repeat(1000);
    // Until nothing more is taken.
    while std::io::Write::write_all(&mut client.stream, &question).is_ok() {}
    let Client { stream, .. } = client;
    drop(stream);
    assert!(serving.join().is_ok());
}
