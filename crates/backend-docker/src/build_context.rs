//! The folder that is sent to who builds, as a tar stream made while it is read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use agentkernel_backend::BackendError;
use agentkernel_sys::open_resolved::open_resolved;
use bytes::Bytes;
use futures_util::Stream;
use rustix::fs::{Dir, FileType, OFlags, ResolveFlags};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::dockerignore::Ignore;

/// How much is sent at once.
const CHUNK: usize = 64 << 10;

/// The largest `.dockerignore`.
const IGNORE_MAX: u64 = 1 << 20;

/// The deepest folder.
const DEPTH_MAX: usize = 256;

/// The stream, and what became of making it.
pub(crate) type Context =
    (std::pin::Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>, JoinHandle<Result<(), BackendError>>);

/// The stream of `folder`, without what its `.dockerignore` names. `dockerfile` is sent in any case. What is no file,
/// folder or link is left out.
pub(crate) fn stream(folder: &Path, dockerfile: &Path) -> Result<Context, BackendError> {
    let failed = |source: io::Error| BackendError::runtime(format!("read {}", folder.display()), source);
    let root = File::open(folder).map_err(failed)?;
    let own = PathBuf::from(format!("{}.dockerignore", dockerfile.display()));
    let mut ignore = None;
    for name in [own.as_path(), Path::new(".dockerignore")] {
        match open(&OwnedFd::from(root.try_clone().map_err(failed)?), name, OFlags::RDONLY) {
            Ok(file) => {
                let mut text = Vec::new();
                File::from(file).take(IGNORE_MAX).read_to_end(&mut text).map_err(failed)?;
                ignore = Some(Ignore::parse(&String::from_utf8_lossy(&text)));
                break;
            }
            Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
    if open(&OwnedFd::from(root.try_clone().map_err(failed)?), dockerfile, OFlags::RDONLY).is_err() {
        return Err(BackendError::NotFound { what: folder.join(dockerfile).display().to_string() });
    }
    let (sender, receiver) = mpsc::channel(4);
    let always = [dockerfile.to_owned(), PathBuf::from(".dockerignore"), own];
    let walk = Walk { root: root.into(), ignore: ignore.unwrap_or_default(), always };
    let shown = folder.display().to_string();
    let making = tokio::task::spawn_blocking(move || {
        let pipe = Pipe { sender: sender.clone(), buffer: Vec::new() };
        let result = walk.run(pipe);
        match result {
            Ok(()) => Ok(()),
            // Who builds has heard enough; what it says counts.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => {
                let cut = io::Error::new(error.kind(), "the folder could not be read");
                // Nobody listens any more where this fails.
                sender.blocking_send(Err(cut)).ok();
                Err(BackendError::runtime(format!("read {shown}"), error))
            }
        }
    });
    let stream = futures_util::stream::unfold(
        receiver,
        |mut receiver: mpsc::Receiver<io::Result<Bytes>>| async move {
            receiver.recv().await.map(|item| (item, receiver))
        },
    );
    Ok((Box::pin(stream), making))
}

/// Opens below `root`, through no link: whatever runs in the folder meanwhile, nothing from outside is sent.
fn open(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    open_resolved(root, path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

struct Walk {
    root: OwnedFd,
    ignore: Ignore,
    always: [PathBuf; 3],
}

impl Walk {
    fn run(&self, pipe: Pipe) -> io::Result<()> {
        let mut archive = tar::Builder::new(pipe);
        self.folder(&mut archive, &mut Vec::new())?;
        archive.into_inner()?.send()
    }

    fn folder(&self, archive: &mut tar::Builder<Pipe>, path: &mut Vec<OsString>) -> io::Result<()> {
        if path.len() > DEPTH_MAX {
            return Err(io::Error::other(format!("folders are nested deeper than {DEPTH_MAX}")));
        }
        let here: PathBuf = if path.is_empty() { PathBuf::from(".") } else { path.iter().collect() };
        let folder = open(&self.root, &here, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names: Vec<OsString> = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort_unstable();
        for name in names {
            path.push(name);
            self.entry(archive, path, &folder)?;
            path.pop();
        }
        Ok(())
    }

    fn entry(
        &self,
        archive: &mut tar::Builder<Pipe>,
        path: &mut Vec<OsString>,
        folder: &OwnedFd,
    ) -> io::Result<()> {
        let parts: Vec<&[u8]> = path.iter().map(|part| part.as_bytes()).collect();
        let whole: PathBuf = path.iter().collect();
        let ignored = self.ignore.ignores(&parts) && !self.always.contains(&whole);
        let Some(name) = path.last().cloned() else { return Ok(()) };
        let stat = rustix::fs::statat(folder, name.as_os_str(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        let leads_to_always = self.always.iter().any(|always| always.starts_with(&whole));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                if ignored && !self.ignore.takes_back() && !leads_to_always {
                    return Ok(());
                }
                if !ignored {
                    let mut header = header(&stat, tar::EntryType::Directory, 0);
                    archive.append_data(&mut header, &whole, io::empty())?;
                }
                self.folder(archive, path)
            }
            _ if ignored => Ok(()),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, name.as_os_str(), Vec::new())?;
                let mut header = header(&stat, tar::EntryType::Symlink, 0);
                archive.append_link(
                    &mut header,
                    &whole,
                    Path::new(std::ffi::OsStr::from_bytes(target.as_bytes())),
                )
            }
            FileType::RegularFile => {
                let file = open(&self.root, &whole, OFlags::RDONLY)?;
                let stat = rustix::fs::fstat(file.as_fd())?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Ok(());
                }
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                let mut header = header(&stat, tar::EntryType::Regular, size);
                // A file that shrinks meanwhile must not shift what follows it.
                let exact = File::from(file).chain(io::repeat(0)).take(size);
                archive.append_data(&mut header, &whole, exact)
            }
            _ => Ok(()),
        }
    }
}

/// As Docker's client sends it: everything is root's.
fn header(stat: &rustix::fs::Stat, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_size(size);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Bytes from a thread to the event loop.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Pipe {
    fn send(&mut self) -> io::Result<()> {
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender.blocking_send(Ok(bytes)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    async fn names(folder: &Path) -> Vec<String> {
        let (stream, result) = stream(folder, Path::new("Dockerfile")).unwrap();
        let pieces: Vec<Bytes> = stream.map(Result::unwrap).collect().await;
        result.await.unwrap().unwrap();
        let bytes = pieces.concat();
        let mut archive = tar::Archive::new(&bytes[..]);
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[tokio::test]
    async fn what_is_ignored_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Dockerfile", "FROM scratch");
        write("src/main.c", "int main;");
        write("src/.env", "SECRET=1");
        write("node_modules/x/y", "big");
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("pipe"),
            FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(
            names(folder.path()).await,
            [
                "Dockerfile",
                "link",
                "node_modules",
                "node_modules/x",
                "node_modules/x/y",
                "src",
                "src/.env",
                "src/main.c"
            ]
        );
        write(".dockerignore", "*\n!src\n**/.env\n");
        assert_eq!(names(folder.path()).await, [".dockerignore", "Dockerfile", "src", "src/main.c"]);
    }

    #[tokio::test]
    async fn a_missing_dockerfile_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = stream(folder.path(), Path::new("Dockerfile")).err().unwrap();
        assert!(error.to_string().contains("/Dockerfile does not exist"), "{error}");
    }
}
