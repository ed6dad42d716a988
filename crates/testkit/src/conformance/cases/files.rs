//! Files in and out.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use agentkernel_backend::{BackendError, FileKind, Guest};
use agentkernel_model::BoxPath;
use tokio::io::{AsyncRead, ReadBuf};

use super::super::ask::{content, eventually, path, pattern, read_all, shell, within};
use super::super::scene::Scene;

async fn read(guest: &dyn Guest, at: &BoxPath) -> Vec<u8> {
    let stream = within("a file", guest.read_file(at)).await.unwrap_or_else(|error| panic!("{at}: {error}"));
    read_all(stream).await
}

async fn write(guest: &dyn Guest, at: &str, mode: Option<u32>, bytes: &[u8]) {
    let written = within("writing", guest.write_file(&path(at), mode, content(bytes))).await;
    assert_eq!(written.unwrap_or_else(|error| panic!("{at}: {error}")), bytes.len() as u64);
}

pub(in super::super) async fn roundtrip(scene: &Scene) {
    let guest = scene.guest().await;
    for (name, length) in [("empty", 0), ("one", 1), ("odd", 65_537), ("large", 10 << 20)] {
        let at = format!("/tmp/{name}");
        let bytes = pattern(length);
        write(&*guest, &at, None, &bytes).await;
        assert!(read(&*guest, &path(&at)).await == bytes, "{name}");
        let info = guest.stat(&path(&at)).await.expect("a file");
        assert_eq!((info.kind, info.size, info.mode), (FileKind::File, length as u64, 0o644), "{name}");
        assert_eq!((info.uid, info.gid, info.name.as_bytes()), (0, 0, name.as_bytes()));
    }
}

pub(in super::super) async fn modes(scene: &Scene) {
    let guest = scene.guest().await;
    for mode in [0o600, 0o755, 0o444] {
        write(&*guest, "/tmp/f", Some(mode), b"x").await;
        assert_eq!(guest.stat(&path("/tmp/f")).await.expect("a file").mode, mode);
    }
    write(&*guest, "/tmp/tool", Some(0o755), b"#!/bin/sh\necho ran\n").await;
    assert_eq!(shell(&*guest, "/tmp/tool").await, "ran\n");
}

pub(in super::super) async fn overwrite(scene: &Scene) {
    let guest = scene.guest().await;
    write(&*guest, "/tmp/f", None, &pattern(100_000)).await;
    write(&*guest, "/tmp/f", None, b"short").await;
    assert_eq!(read(&*guest, &path("/tmp/f")).await, b"short");
    assert_eq!(shell(&*guest, "cat /tmp/f; printf more >> /tmp/f").await, "short");
    assert_eq!(read(&*guest, &path("/tmp/f")).await, b"shortmore");
}

/// Some bytes, then an error.
struct Breaks(u32);

impl AsyncRead for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0 == 0 {
            return Poll::Ready(Err(io::Error::other("the source broke")));
        }
        self.0 -= 1;
        let length = buffer.remaining().min(4096);
        buffer.put_slice(&[b'x'; 4096][..length]);
        Poll::Ready(Ok(()))
    }
}

pub(in super::super) async fn broken_write_changes_nothing(scene: &Scene) {
    let guest = scene.guest().await;
    guest.make_dir(&path("/tmp/d"), None).await.expect("made");
    write(&*guest, "/tmp/d/f", None, b"before").await;
    for name in ["/tmp/d/f", "/tmp/d/new"] {
        let written = within("an answer", guest.write_file(&path(name), None, Box::new(Breaks(50)))).await;
        assert!(written.is_err(), "{name}");
    }
    assert_eq!(read(&*guest, &path("/tmp/d/f")).await, b"before");
    eventually("nothing half-made", || async {
        guest.list(&path("/tmp/d")).await.expect("a list").len() == 1
    })
    .await;
}

pub(in super::super) async fn missing(scene: &Scene) {
    let guest = scene.guest().await;
    let at = path("/tmp/nope");
    let not_found = |what: &str, result: Result<(), BackendError>| {
        assert!(matches!(result, Err(BackendError::NotFound { .. })), "{what}: {result:?}");
    };
    not_found("read", guest.read_file(&at).await.map(drop));
    not_found("stat", guest.stat(&at).await.map(drop));
    not_found("list", guest.list(&at).await.map(drop));
    not_found("remove", guest.remove_file(&at, false).await);
    not_found("remove all", guest.remove_file(&at, true).await);
    not_found("tar", guest.tar_out(&at).await.map(drop));
    not_found("write", guest.write_file(&path("/tmp/nope/f"), None, content("x")).await.map(drop));
}

pub(in super::super) async fn wrong_kind(scene: &Scene) {
    let guest = scene.guest().await;
    shell(&*guest, "mkdir -p /tmp/d/e; echo x > /tmp/f; mkfifo /tmp/pipe").await;
    let invalid = |what: &str, result: Result<(), BackendError>| {
        assert!(matches!(result, Err(BackendError::Invalid { .. })), "{what}: {result:?}");
    };
    invalid("read a folder", guest.read_file(&path("/tmp/d")).await.map(drop));
    invalid("write a folder", guest.write_file(&path("/tmp/d"), None, content("x")).await.map(drop));
    invalid("list a file", guest.list(&path("/tmp/f")).await.map(drop));
    invalid("remove a full folder", guest.remove_file(&path("/tmp/d"), false).await);
    let over = guest.make_dir(&path("/tmp/f"), None).await;
    assert!(
        matches!(over, Err(BackendError::Invalid { .. } | BackendError::AlreadyExists { .. })),
        "{over:?}"
    );
    invalid("a file as folder", guest.stat(&path("/tmp/f/x")).await.map(drop));
    // A pipe nobody writes to and a device without end must not hold anybody up.
    invalid("read a pipe", within("a pipe", guest.read_file(&path("/tmp/pipe"))).await.map(drop));
    invalid("read a device", within("a device", guest.read_file(&path("/dev/zero"))).await.map(drop));
    assert_eq!(shell(&*guest, "cat /tmp/f; test -d /tmp/d/e && echo d").await, "x\nd\n");
}

pub(in super::super) async fn folders(scene: &Scene) {
    let guest = scene.guest().await;
    let deep = path("/tmp/a/b/c");
    guest.make_dir(&deep, Some(0o700)).await.expect("made with its parents");
    guest.make_dir(&deep, None).await.expect("fine if it is there");
    let info = guest.stat(&deep).await.expect("a folder");
    assert_eq!((info.kind, info.mode), (FileKind::Directory, 0o700));
    write(&*guest, "/tmp/a/b/c/f", None, b"x").await;
    guest.remove_file(&path("/tmp/a"), true).await.expect("removed with all in it");
    assert!(matches!(guest.stat(&path("/tmp/a")).await, Err(BackendError::NotFound { .. })));
}

pub(in super::super) async fn lists_are_sorted(scene: &Scene) {
    let guest = scene.guest().await;
    guest.make_dir(&path("/tmp/d"), None).await.expect("made");
    for name in ["b", "a", "B", "10", "9"] {
        write(&*guest, &format!("/tmp/d/{name}"), None, b"").await;
    }
    let names: Vec<String> =
        guest.list(&path("/tmp/d")).await.expect("a list").iter().map(|info| info.name.to_lossy()).collect();
    assert_eq!(names, ["10", "9", "B", "a", "b"]);
    assert!(
        guest.list(&path("/")).await.expect("the root").iter().any(|info| info.name.as_bytes() == b"tmp")
    );
}

pub(in super::super) async fn awkward_names(scene: &Scene) {
    let guest = scene.guest().await;
    guest.make_dir(&path("/tmp/d"), None).await.expect("made");
    let names: [&[u8]; 5] = [b"\xff\xfe", b"new\nline", b" spaces ", b"-flag", b"..."];
    for name in names {
        let at = BoxPath::new(std::path::Path::new("/tmp/d").join(std::ffi::OsStr::from_bytes(name)))
            .expect("a path");
        guest.write_file(&at, None, content(name)).await.expect("written");
        assert_eq!(read(&*guest, &at).await, name);
    }
    let mut expected: Vec<Vec<u8>> = names.iter().map(|name| name.to_vec()).collect();
    expected.sort_unstable();
    let listed: Vec<Vec<u8>> =
        guest.list(&path("/tmp/d")).await.expect("a list").into_iter().map(|info| info.name.0).collect();
    assert_eq!(listed, expected);
}

pub(in super::super) async fn many_at_once(scene: &Scene) {
    let guest = scene.guest().await;
    let sent = pattern(1 << 20);
    let mut tasks = Vec::new();
    for number in 0..8 {
        let (guest, sent) = (std::sync::Arc::clone(&guest), sent.clone());
        tasks.push(tokio::spawn(async move {
            let at = path(&format!("/tmp/f{number}"));
            guest.write_file(&at, None, content(sent.clone())).await.expect("written");
            let back = read_all(guest.read_file(&at).await.expect("a file")).await;
            assert!(back == sent);
        }));
    }
    for task in tasks {
        within("a transfer", task).await.expect("no panic");
    }
}

pub(in super::super) async fn abandoned_transfers(scene: &Scene) {
    let guest = scene.guest().await;
    write(&*guest, "/tmp/large", None, &pattern(8 << 20)).await;
    for _ in 0..20 {
        // Opened and dropped unread: the channel must be free again.
        drop(guest.read_file(&path("/tmp/large")).await.expect("a file"));
    }
    assert_eq!(shell(&*guest, "echo fine").await, "fine\n");
    assert_eq!(read(&*guest, &path("/tmp/large")).await.len(), 8 << 20);
}
