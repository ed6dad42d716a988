//! Waiting for a name to appear in a folder, without looking again and again.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A watch on a folder. What appears after it was made is not missed.
pub(super) struct Appearance {
    watch: AsyncFd<OwnedFd>,
    folder: OwnedFd,
}

impl Appearance {
    /// Begins to watch. Must be called within a tokio runtime.
    pub(super) fn begin(folder: &OwnedFd) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
        inotify::add_watch(&watch, path, WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
        #[expect(
            deprecated,
            reason = "the descriptor is owned by the watch, which is what its successor asks"
        )]
        let watch = AsyncFd::with_interest(watch, Interest::READABLE)?;
        Ok(Self { watch, folder: folder.try_clone()? })
    }

    /// Returns when `name` is there.
    pub(super) async fn of(&self, name: &str) -> io::Result<()> {
        // It may have been there before the watch.
        let look = rustix::fs::statat(&self.folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        if look.is_ok() {
            return Ok(());
        }
        loop {
            let mut ready = self.watch.readable().await?;
            if self.read(OsStr::new(name))? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    /// Whether `name` is among what has appeared. A queue that overflowed lost names, so the folder is asked.
    fn read(&self, name: &OsStr) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut events = Reader::new(self.watch.get_ref(), &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    let named = event.file_name().is_some_and(|it| it.to_bytes() == name.as_bytes());
                    let lost = event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                    let there = || {
                        rustix::fs::statat(&self.folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
                    };
                    if named || lost && there() {
                        return Ok(true);
                    }
                }
                Err(Errno::WOULDBLOCK) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_appears_is_seen_and_what_was_there_too() {
        let folder = tempfile::tempdir().unwrap();
        let at = crate::socket::open_folder(folder.path()).unwrap();
        let appearance = Appearance::begin(&at).unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), appearance.of("a.sock")).await;
        assert!(waited.is_err(), "nothing is there");
        std::fs::write(folder.path().join("b.sock"), "").unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), appearance.of("a.sock")).await;
        assert!(waited.is_err(), "another is there");
        let (seen, made) =
            tokio::join!(tokio::time::timeout(Duration::from_secs(5), appearance.of("a.sock")), async {
                std::fs::write(folder.path().join("a.sock"), "")
            });
        seen.unwrap().unwrap();
        made.unwrap();
        Appearance::begin(&at).unwrap().of("a.sock").await.unwrap();
    }
}
