//! Standard output and standard error: every byte, at once, in order.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

use super::closed::refuse_closed_output;
use super::route::Route;

/// One output stream of this process.
pub(crate) struct StandardOutput {
    inherited: BorrowedFd<'static>,
    way: Way,
}

enum Way {
    Direct,
    /// Not yet known to the event loop: most commands write little, and a first write seldom has to wait.
    Reopened(File),
    Registered(pipe::Sender),
    Blocking,
    /// Only between two steps.
    Moving,
}

impl StandardOutput {
    /// Standard output; an error where our caller has closed it.
    pub(crate) fn stdout() -> io::Result<Self> {
        refuse_closed_output()?;
        Self::of(rustix::stdio::stdout())
    }

    /// Standard error.
    pub(crate) fn stderr() -> io::Result<Self> {
        Self::of(rustix::stdio::stderr())
    }

    fn of(inherited: BorrowedFd<'static>) -> io::Result<Self> {
        let way = match Route::of(inherited, OFlags::WRONLY)? {
            Route::Direct => Way::Direct,
            Route::Reopened(file) => Way::Reopened(file),
            Route::Blocking => Way::Blocking,
        };
        Ok(Self { inherited, way })
    }

    /// Writes all of `bytes`; returns once the kernel has them.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = match &mut self.way {
                Way::Direct => retry(|| Ok(rustix::io::write(self.inherited, bytes)?))?,
                Way::Reopened(file) => match retry(|| file.write(bytes)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.register()?;
                        continue;
                    }
                    result => result?,
                },
                Way::Registered(sender) => sender.write(bytes).await?,
                Way::Blocking | Way::Moving => {
                    write_in_thread(self.inherited, bytes).await?;
                    bytes.len()
                }
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    fn register(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.way, Way::Moving) {
            Way::Reopened(file) => {
                // "Unchecked": it may be a pseudo-terminal, which is waited for in the same way.
                self.way = Way::Registered(pipe::Sender::from_file_unchecked(file)?);
            }
            other => self.way = other,
        }
        Ok(())
    }
}

fn retry(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

async fn write_in_thread(inherited: BorrowedFd<'static>, bytes: &[u8]) -> io::Result<()> {
    let bytes = bytes.to_vec();
    let copy: OwnedFd = inherited.try_clone_to_owned()?;
    tokio::task::spawn_blocking(move || File::from(copy).write_all(&bytes)).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::{AsFd, IntoRawFd};

    /// A stream that lives as long as the test process, as the real ones do.
    fn forever(file: impl Into<OwnedFd>) -> BorrowedFd<'static> {
        let leaked: &'static OwnedFd = Box::leak(Box::new(file.into()));
        leaked.as_fd()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn more_than_a_pipe_holds_arrives_whole_while_the_loop_turns() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        let expected = sent.clone();
        let collector = std::thread::spawn(move || {
            let mut got = vec![0; expected.len()];
            reader.read_exact(&mut got).unwrap();
            got == expected
        });
        runtime().block_on(async {
            let mut output = StandardOutput::of(forever(writer)).unwrap();
            output.write_all(&sent).await.unwrap();
            assert!(matches!(output.way, Way::Registered(_)), "three megabytes don't fit into a pipe");
        });
        assert!(collector.join().unwrap());
    }

    #[test]
    fn a_closed_reader_is_a_broken_pipe() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (socket, peer) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(peer);
        runtime().block_on(async {
            for fd in [forever(writer), forever(socket)] {
                let error = StandardOutput::of(fd).unwrap().write_all(b"x").await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            }
        });
    }

    #[test]
    fn files_and_sockets_work_too() {
        let mut file = tempfile::tempfile().unwrap();
        let (socket, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        runtime().block_on(async {
            StandardOutput::of(forever(file.try_clone().unwrap()))
                .unwrap()
                .write_all(b"to a file")
                .await
                .unwrap();
            StandardOutput::of(forever(socket.try_clone().unwrap()))
                .unwrap()
                .write_all(b"to a socket")
                .await
                .unwrap();
        });
        std::io::Seek::rewind(&mut file).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "to a file");
        let mut got = [0; 11];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"to a socket");
        assert!(socket.into_raw_fd() > 0);
    }
}
