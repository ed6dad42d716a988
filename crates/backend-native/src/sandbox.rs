//! The parts of a persistent sandbox outside of its processes: its files, its socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use agentkernel_model::{Feature, SandboxSpec};
use agentkernel_sys::ext4_file;
use agentkernel_sys::process::Namespaces;
use agentkernel_sys::steps::{Failure, Program, Step};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::disk;
use crate::identity::IdMap;
use crate::instance::Folder;

/// The file that holds a size-limited filesystem.
fn image(folder: &Folder) -> PathBuf {
    folder.path().join("layers.ext4")
}

fn limit(spec: &SandboxSpec, waived: &[Feature]) -> Option<agentkernel_model::Mib> {
    spec.resources.disk.filter(|_| !waived.contains(&Feature::PersistentDiskLimit))
}

/// Makes the place for what the box writes; fine if it is there.
pub(crate) fn make_layers(
    folder: &Folder,
    spec: &SandboxSpec,
    waived: &[Feature],
    id_map: &IdMap,
) -> io::Result<()> {
    if let Some(size) = limit(spec, waived) {
        if !image(folder).exists() {
            ext4_file::make(&image(folder), size.bytes(), id_map.root_outside())?;
        }
        return Ok(());
    }
    let layers = folder.layers();
    match std::fs::create_dir(&layers) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let (uid, gid) = id_map.root_outside();
    std::os::unix::fs::chown(&layers, Some(uid), Some(gid))
}

/// The mount of a size-limited filesystem, where there is one.
pub(crate) fn open_layers(
    folder: &Folder,
    spec: &SandboxSpec,
    waived: &[Feature],
) -> io::Result<Option<OwnedFd>> {
    limit(spec, waived).map(|_| disk::open(&image(folder))).transpose()
}

/// Whether no box has run on these files yet: a first start makes `mark` last.
pub(crate) fn is_fresh(folder: &Folder, tree: Option<&OwnedFd>, mark: &str) -> io::Result<bool> {
    let found = match tree {
        Some(tree) => rustix::fs::statat(tree, mark, AtFlags::SYMLINK_NOFOLLOW),
        None => rustix::fs::lstat(folder.layers().join(mark)),
    };
    match found {
        Ok(_) => Ok(false),
        Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes the box's files; fine if they are gone.
pub(crate) fn remove_layers(folder: &Folder) -> io::Result<()> {
    match std::fs::remove_file(image(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let layers = match std::fs::File::open(folder.layers()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    agentkernel_sys::remove_tree::remove_contents(layers.as_fd())?;
    std::fs::remove_dir(folder.layers())
}

/// Empties the box's files as root of its user namespace: some belong to subordinate ids, which the caller can't touch
/// from outside.
pub(crate) fn remove_as_box_root(folder: &Folder, id_map: &IdMap) -> io::Result<()> {
    let layers = match std::fs::File::open(folder.layers()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let (wait, go) = io::pipe()?;
    let (mut failures, report) = io::pipe()?;
    let steps = vec![
        Step::AwaitGo(wait.as_raw_fd()),
        Step::BecomeRoot { drop_groups: true },
        Step::RemoveContents(layers.as_raw_fd()),
        Step::Finish,
    ];
    let program = Program::new(steps, -1, vec![], report.as_raw_fd());
    let child = program.spawn(Namespaces::USER, None, report.as_raw_fd())?;
    drop((wait, report));
    let let_go = id_map.write(&child).and_then(|()| io::Write::write_all(&mut &go, b"g"));
    drop(go);
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut failures, &mut bytes)?;
    child.reap()?;
    let_go?;
    match Failure::decode(&bytes) {
        None => Ok(()),
        Some(failure) => Err(failure.errno.into()),
    }
}

/// The path of the socket by way of its folder's descriptor: a socket's path has at most 107 bytes (unix(7)).
fn short_socket_path(folder: &Folder) -> io::Result<(OwnedFd, PathBuf)> {
    let at = OwnedFd::from(std::fs::File::open(folder.path())?);
    let name = folder.socket();
    let name = name.file_name().unwrap_or_default();
    let path = Path::new("/proc/self/fd").join(at.as_raw_fd().to_string()).join(name);
    Ok((at, path))
}

/// The socket that the agent will accept connections on. The folder is private, so only this user reaches it.
pub(crate) fn listen(folder: &Folder) -> io::Result<OwnedFd> {
    let (_at, path) = short_socket_path(folder)?;
    UnixListener::bind(path).map(OwnedFd::from)
}

/// A connection to the agent.
pub(crate) fn dial(folder: &Folder) -> io::Result<UnixStream> {
    let (_at, path) = short_socket_path(folder)?;
    UnixStream::connect(path)
}
