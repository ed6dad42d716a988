//! A server in this process, without a jail: what it refuses, it refuses by itself.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use agentkernel_folder_share::{FolderServer, own_descriptors, serve};
use rustix::fs::{CWD, Mode, OFlags};
use tempfile::TempDir;

use crate::client::Client;

pub(crate) struct Served {
    pub(crate) place: TempDir,
    /// Beside it.
    pub(crate) outside: TempDir,
    pub(crate) client: Client,
    pub(crate) serving: JoinHandle<io::Result<()>>,
}

pub(crate) fn served(read_only: bool) -> Served {
    let Served { place, outside, client, serving } = served_bare(read_only);
    Served { place, outside, client: Client::begun(client.stream), serving }
}

pub(crate) fn served_bare(read_only: bool) -> Served {
    let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = rustix::fs::openat(CWD, place.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let server = FolderServer::new(root, own_descriptors().unwrap(), read_only).unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    let serving = std::thread::spawn(move || serve(&server, &there));
    Served { place, outside, client: Client::new(here), serving }
}
