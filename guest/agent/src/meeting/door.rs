//! The way in where the backend can't hand over a descriptor: a folder of the host's that the box sees read-only. Who
//! wants to speak to the agent puts a listening socket there, and the agent connects to it. So nothing of the box ever
//! writes to the host, and nothing of it can be taken for the host.

use std::collections::VecDeque;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use crate::pump;

/// Tells of files that appear in one folder.
pub(crate) struct Watch {
    events: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Of `folder`, from now on.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&events, folder, WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
        Ok(Self { events: pump::watch(events, Interest::READABLE)? })
    }

    /// Waits until something has appeared; `None` stands for more than the kernel could remember.
    pub(crate) async fn appeared(&self) -> io::Result<Vec<Option<OsString>>> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        loop {
            let mut ready = self.events.readable().await?;
            let mut names = Vec::new();
            let mut reader = Reader::new(self.events.get_ref().as_fd(), &mut buffer);
            let end = loop {
                match reader.next() {
                    Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => names.push(None),
                    Ok(event) => names.extend(event.file_name().map(|name| Some(os_string(name)))),
                    Err(errno) => break errno,
                }
            };
            match end {
                Errno::AGAIN => ready.clear_ready(),
                Errno::INTR => {}
                errno => return Err(errno.into()),
            }
            if !names.is_empty() {
                return Ok(names);
            }
        }
    }
}

fn os_string(name: &CStr) -> OsString {
    OsStr::from_bytes(name.to_bytes()).to_owned()
}

/// The folder.
pub(crate) struct Door {
    /// By way of `_held`: root of the box may rename what the folder is in, and put another with sockets of its own there.
    folder: PathBuf,
    _held: File,
    watch: Watch,
    waiting: VecDeque<OsString>,
    /// Found by the first look; the watch may tell of them once more.
    known: Vec<OsString>,
}

/// The first who waits in `folder` now.
pub(crate) async fn first(folder: &Path) -> io::Result<Option<UnixStream>> {
    for name in entries(folder)? {
        if let Ok(stream) = UnixStream::connect(folder.join(name)).await {
            return Ok(Some(stream));
        }
    }
    Ok(None)
}

impl Door {
    /// Opens it; who waits there already comes first.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let held = File::open(folder)?;
        let folder = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        let watch = Watch::open(&folder)?;
        let known = entries(&folder)?;
        Ok(Self { folder, _held: held, watch, waiting: known.iter().cloned().collect(), known })
    }

    /// Whoever waits now, or `None`.
    async fn waiting(&mut self) -> Option<UnixStream> {
        while let Some(name) = self.waiting.pop_front() {
            // One that is gone has left its socket behind.
            if let Ok(stream) = UnixStream::connect(self.folder.join(name)).await {
                return Some(stream);
            }
        }
        None
    }

    /// The next who comes.
    pub(crate) async fn next(&mut self) -> io::Result<UnixStream> {
        loop {
            if let Some(stream) = self.waiting().await {
                return Ok(stream);
            }
            for name in self.watch.appeared().await? {
                let Some(name) = name else {
                    self.waiting = entries(&self.folder)?.into();
                    continue;
                };
                match self.known.iter().position(|known| *known == name) {
                    Some(place) => drop(self.known.swap_remove(place)),
                    None => self.waiting.push_back(name),
                }
            }
        }
    }
}

fn entries(folder: &Path) -> io::Result<Vec<OsString>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn who_waits_and_who_comes_later_is_met_once() {
        let folder = tempfile::tempdir().unwrap();
        let beside = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
        let early = UnixListener::bind(folder.path().join("early")).unwrap();
        drop(UnixListener::bind(folder.path().join("dead")).unwrap());
        assert!(first(folder.path()).await.unwrap().is_some());
        early.accept().unwrap();
        let mut door = Door::open(folder.path()).unwrap();
        door.next().await.unwrap();
        early.accept().unwrap();
        assert!(door.waiting().await.is_none(), "the dead one is passed over");
        let late = UnixListener::bind(beside.path().join("late")).unwrap();
        std::fs::rename(beside.path().join("late"), folder.path().join("late")).unwrap();
        door.next().await.unwrap();
        late.accept().unwrap();
        early.set_nonblocking(true).unwrap();
        assert!(early.accept().is_err(), "met twice");
    }

    #[tokio::test]
    async fn a_folder_that_takes_its_place_is_not_met() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("own/door");
        std::fs::create_dir_all(&folder).unwrap();
        let mut door = Door::open(&folder).unwrap();
        std::fs::rename(place.path().join("own"), place.path().join("moved")).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        let impostor = UnixListener::bind(folder.join("name")).unwrap();
        let host = UnixListener::bind(place.path().join("fresh")).unwrap();
        std::fs::rename(place.path().join("fresh"), place.path().join("moved/door/name")).unwrap();
        door.next().await.unwrap();
        host.accept().unwrap();
        impostor.set_nonblocking(true).unwrap();
        assert!(impostor.accept().is_err(), "a box was taken for the host");
    }
}
