//! Files in and out.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use agentkernel_backend::{BackendError, FileKind, Guest, OutputStream};
use agentkernel_model::BoxPath;
use tokio::io::AsyncReadExt;

use crate::{TestBox, until};

fn at(path: impl AsRef<Path>) -> BoxPath {
    BoxPath::new(path).unwrap()
}

fn stream(bytes: &[u8]) -> OutputStream {
    Box::new(std::io::Cursor::new(bytes.to_vec()))
}

async fn read(test: &TestBox, path: impl AsRef<Path>) -> Result<Vec<u8>, BackendError> {
    let mut content = Vec::new();
    let mut stream = test.guest.read_file(&at(path)).await?;
    stream.read_to_end(&mut content).await.map_err(|error| BackendError::runtime("read", error))?;
    Ok(content)
}

#[tokio::test]
async fn content_arrives_whole_or_not_at_all() {
    let Some(test) = TestBox::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let large: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    assert_eq!(test.guest.write_file(&at(&file), None, stream(&large)).await.unwrap(), 5_000_000);
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o644);
    assert!(read(&test, &file).await.unwrap() == large);
    // Through a link, which stays one.
    symlink("file", dir.path().join("link")).unwrap();
    test.guest.write_file(&at(dir.path().join("link")), Some(0o600), stream(b"short")).await.unwrap();
    assert!(dir.path().join("link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read(&file).unwrap(), b"short");
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    // A source that breaks changes nothing and leaves nothing.
    let broken: OutputStream = Box::new(stream(&large).chain(tokio_test_error()));
    assert!(test.guest.write_file(&at(&file), None, broken).await.is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"short");
    until("no half file is left", async || std::fs::read_dir(dir.path()).unwrap().count() == 2).await;
}

/// A stream that fails at once.
fn tokio_test_error() -> impl tokio::io::AsyncRead + Send + Unpin {
    struct Fails;
    impl tokio::io::AsyncRead for Fails {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(std::io::Error::other("it broke")))
        }
    }
    Fails
}

#[tokio::test]
async fn only_regular_files_are_read_and_written() {
    let Some(test) = TestBox::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [fifo.as_path(), dir.path(), Path::new("/dev/zero")] {
        assert!(matches!(read(&test, path).await, Err(BackendError::Invalid { .. })), "{path:?}");
        let written = test.guest.write_file(&at(path), None, stream(b"x")).await;
        assert!(matches!(written, Err(BackendError::Invalid { .. })), "{path:?}: {written:?}");
    }
    assert!(matches!(read(&test, "/nope").await, Err(BackendError::NotFound { .. })));
    assert!(read(&test, "/proc/1/exe").await.is_err());
    assert!(read(&test, "/proc/self/exe").await.is_err(), "the agent's own program");
}

#[tokio::test]
async fn folders_are_made_listed_and_removed() {
    let Some(test) = TestBox::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c");
    test.guest.make_dir(&at(&deep), Some(0o750)).await.unwrap();
    test.guest.make_dir(&at(&deep), None).await.unwrap();
    assert_eq!(std::fs::metadata(&deep).unwrap().mode() & 0o7777, 0o750);
    std::fs::write(deep.join("file"), "12345").unwrap();
    symlink("/nowhere", deep.join("link")).unwrap();
    let entries = test.guest.list(&at(&deep)).await.unwrap();
    let names: Vec<_> = entries.iter().map(|entry| (entry.name.to_lossy(), entry.kind)).collect();
    assert_eq!(names, [("file".into(), FileKind::File), ("link".into(), FileKind::Symlink)]);
    assert_eq!(entries[0].size, 5);
    let info = test.guest.stat(&at(deep.join("link"))).await.unwrap();
    assert_eq!((info.kind, info.name.to_lossy()), (FileKind::Symlink, "link".to_owned()));
    assert_eq!(test.guest.stat(&at("/")).await.unwrap().kind, FileKind::Directory);
    let top = at(dir.path().join("a"));
    assert!(matches!(test.guest.remove_file(&top, false).await, Err(BackendError::Invalid { .. })));
    // Deeper than descriptors or a path would reach.
    assert_eq!(
        test.run(&format!("cd {} && for i in $(seq 2000); do mkdir d && cd d; done", deep.display()))
            .await
            .0
            .exit_code(),
        0
    );
    test.guest.remove_file(&top, true).await.unwrap();
    assert!(!dir.path().join("a").exists());
    assert!(matches!(test.guest.remove_file(&top, true).await, Err(BackendError::NotFound { .. })));
    assert!(matches!(
        test.guest.make_dir(&at("/etc/passwd/x"), None).await,
        Err(BackendError::Invalid { .. })
    ));
}

#[tokio::test]
async fn a_tree_survives_tar_both_ways() {
    let Some(test) = TestBox::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("tree");
    let long = source.join("n".repeat(200)).join("m".repeat(200));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("file"), vec![9; 100_000]).unwrap();
    std::fs::write(source.join("script"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(source.join("script"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("l".repeat(300), source.join("link")).unwrap();
    std::fs::write(source.join(std::ffi::OsStr::new("empty ünï")), "").unwrap();
    let tar = test.guest.tar_out(&at(&source)).await.unwrap();
    let target = dir.path().join("copy/of");
    test.guest.tar_in(&at(&target), tar).await.unwrap();
    let differs = std::process::Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args([&source, &target.join("tree")])
        .output()
        .unwrap();
    assert!(differs.status.success(), "{}", String::from_utf8_lossy(&differs.stdout));
    assert_eq!(std::fs::metadata(target.join("tree/script")).unwrap().mode() & 0o7777, 0o4755);
    assert!(matches!(test.guest.tar_out(&at("/nope")).await.map(|_| ()), Err(BackendError::NotFound { .. })));
}

struct Evil(tar::Builder<Vec<u8>>);

impl Evil {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// An entry as no honest program writes it.
    fn add(mut self, kind: tar::EntryType, name: &[u8], link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            header.set_link_name_literal(link).unwrap();
        }
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn stream(self) -> OutputStream {
        stream(&self.0.into_inner().unwrap())
    }
}

#[tokio::test]
async fn no_archive_leaves_its_folder() {
    use tar::EntryType as Kind;
    let Some(test) = TestBox::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "untouched").unwrap();
    let inside = dir.path().join("inside");
    let out = outside.to_str().unwrap();
    let secret = outside.join("secret");
    let secret = secret.to_str().unwrap();
    let absolute = format!("{out}/new");
    let attacks = [
        Evil::new().add(Kind::Regular, absolute.as_bytes(), "", b"x"),
        Evil::new().add(Kind::Regular, b"../outside/new", "", b"x"),
        Evil::new().add(Kind::Regular, b"a/../../outside/new", "", b"x"),
        Evil::new().add(Kind::Symlink, b"link", out, b"").add(Kind::Regular, b"link/new", "", b"x"),
        Evil::new().add(Kind::Symlink, b"link", "../outside", b"").add(Kind::Regular, b"link/new", "", b"x"),
        Evil::new().add(Kind::Symlink, b"link", out, b"").add(Kind::Directory, b"link/new", "", b""),
        Evil::new().add(Kind::Link, b"hard", secret, b""),
        Evil::new().add(Kind::Link, b"hard", "../outside/secret", b""),
        Evil::new().add(Kind::Symlink, b"link", out, b"").add(Kind::Link, b"hard", "link/secret", b""),
        Evil::new().add(Kind::Char, b"device", "", b""),
        Evil::new().add(Kind::Block, b"device", "", b""),
        Evil::new().add(Kind::Fifo, b"pipe", "", b""),
    ];
    for (number, attack) in attacks.into_iter().enumerate() {
        let result = test.guest.tar_in(&at(&inside), attack.stream()).await;
        assert!(matches!(result, Err(BackendError::Invalid { .. })), "{number}: {result:?}");
        assert!(!Path::new(&absolute).exists(), "{number} got out");
        std::fs::remove_dir_all(&inside).unwrap();
    }
    // A link is replaced, not written through.
    let through = Evil::new().add(Kind::Symlink, b"link", secret, b"").add(Kind::Regular, b"link", "", b"x");
    test.guest.tar_in(&at(&inside), through.stream()).await.unwrap();
    assert_eq!(std::fs::read_to_string(inside.join("link")).unwrap(), "x");
    // A folder's permissions are not given to what a link leads to.
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode();
    let before = mode(&outside);
    let chmod = Evil::new().add(Kind::Symlink, b"d", out, b"").add(Kind::Directory, b"d", "", b"");
    test.guest.tar_in(&at(&inside), chmod.stream()).await.unwrap();
    assert_eq!(mode(&outside), before);
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "untouched");
    let cut = stream(&[1; 700]);
    assert!(matches!(test.guest.tar_in(&at(&inside), cut).await, Err(BackendError::Invalid { .. })));
}
