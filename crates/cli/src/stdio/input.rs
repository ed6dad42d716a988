//! Standard input, read only as fast as the sandbox takes it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::route::Route;

/// The input stream of this process.
pub(crate) struct StandardInput {
    inherited: BorrowedFd<'static>,
    way: Way,
}

enum Way {
    Direct,
    Registered(pipe::Receiver),
    Blocking,
}

impl StandardInput {
    /// Whether input is worth connecting without being asked to: there is some, and nobody sits at it.
    pub(crate) fn is_redirected() -> bool {
        may_hold_input(rustix::stdio::stdin())
    }

    /// Must be called inside the runtime.
    pub(crate) fn open() -> io::Result<Self> {
        Self::of(rustix::stdio::stdin())
    }

    fn of(inherited: BorrowedFd<'static>) -> io::Result<Self> {
        let way = match Route::of(inherited, OFlags::RDONLY)? {
            Route::Direct => Way::Direct,
            // "Unchecked": it may be a pseudo-terminal, which is waited for in the same way.
            Route::Reopened(file) => Way::Registered(pipe::Receiver::from_file_unchecked(file)?),
            Route::Blocking => Way::Blocking,
        };
        Ok(Self { inherited, way })
    }

    /// Reads some bytes; 0 is the end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match &mut self.way {
                Way::Direct => rustix::io::read(self.inherited, &mut *buffer).map_err(io::Error::from),
                Way::Registered(receiver) => receiver.read(buffer).await,
                Way::Blocking => read_in_thread(self.inherited, buffer).await,
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The other side of a pseudo-terminal is gone: its end, as read(2) on a master reports it.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                    return Ok(0);
                }
                result => return result,
            }
        }
    }
}

/// Not a terminal: somebody sits at it, who says -i. Not /dev/null and not a closed descriptor: a command without input
/// reads its end at once, too, and at less cost.
fn may_hold_input(fd: BorrowedFd<'_>) -> bool {
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_rdev != null) && !rustix::termios::isatty(fd)
}

async fn read_in_thread(inherited: BorrowedFd<'static>, buffer: &mut [u8]) -> io::Result<usize> {
    let copy = inherited.try_clone_to_owned()?;
    let room = buffer.len();
    let bytes = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; room];
        let count = File::from(copy).read(&mut bytes)?;
        bytes.truncate(count);
        Ok::<_, io::Error>(bytes)
    })
    .await
    .map_err(io::Error::other)??;
    buffer[..bytes.len()].copy_from_slice(&bytes);
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::{AsFd, OwnedFd};

    fn read_all(fd: impl Into<OwnedFd>) -> Vec<u8> {
        let leaked: &'static OwnedFd = Box::leak(Box::new(fd.into()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut input = StandardInput::of(leaked.as_fd()).unwrap();
            let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
            loop {
                match input.read(&mut buffer).await.unwrap() {
                    0 => return all,
                    count => all.extend_from_slice(&buffer[..count]),
                }
            }
        })
    }

    #[test]
    fn pipes_and_files_may_hold_input_and_the_null_device_does_not() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(may_hold_input(reader.as_fd()));
        assert!(may_hold_input(tempfile::tempfile().unwrap().as_fd()));
        assert!(!may_hold_input(File::open("/dev/null").unwrap().as_fd()));
    }

    #[test]
    fn pipes_files_and_sockets_are_read_to_their_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let sender = std::thread::spawn(move || writer.write_all(&[7; 300_000]).unwrap());
        assert_eq!(read_all(reader), vec![7; 300_000]);
        sender.join().unwrap();

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"from a file").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        assert_eq!(read_all(file), b"from a file");

        let (socket, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        peer.write_all(b"from a socket").unwrap();
        drop(peer);
        assert_eq!(read_all(socket), b"from a socket");
    }
}
