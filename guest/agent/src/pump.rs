//! Bytes between descriptors and streams.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use agentkernel_protocol::{MAX_PAYLOAD, StreamReader, StreamWriter};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::sync::watch;

use crate::flow::Flow;
use crate::raw;

thread_local! {
    /// One buffer for all readers: bytes go from it into a frame before anything is waited for.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The most that is read at once.
pub(crate) const CHUNK: usize = MAX_PAYLOAD;

/// What stdin of a command or worker is read in.
const INPUT_CHUNK: usize = 32 * 1024;

/// A descriptor in the event loop.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    raw::watched(fd, interest)
}

/// Reads at most `limit` bytes without waiting and gives them to `take`. A terminal whose other side is closed reads as
/// EIO: that is its end.
pub(crate) fn read_now<T>(fd: &OwnedFd, limit: usize, take: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(CHUNK, 0);
        let room = scratch.get_mut(..limit.min(CHUNK)).unwrap_or_default();
        match rustix::io::read(fd, &mut *room) {
            Ok(length) => Ok(take(room.get(..length).unwrap_or_default())),
            Err(Errno::IO) => Ok(take(&[])),
            Err(error) => Err(error.into()),
        }
    })
}

/// What one look at a descriptor gave.
struct Taken {
    bytes: usize,
    /// There was nothing more.
    drained: bool,
}

/// Appends what is there now to `out`, at most `limit` bytes: a command that writes little by little would else fill a
/// frame with each of its writes.
fn take_now(fd: &OwnedFd, out: &mut Vec<u8>, limit: usize) -> io::Result<Taken> {
    let mut bytes = 0;
    while bytes < limit {
        match raw::read_onto(fd, out, limit - bytes) {
            Ok(0) | Err(Errno::IO) => break,
            Ok(length) => bytes += length,
            Err(Errno::INTR) => {}
            Err(_) if bytes > 0 => return Ok(Taken { bytes, drained: true }),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Taken { bytes, drained: false })
}

/// Everything that comes from `fd` goes to `writer`, until either ends; `moved` counts it. The writer comes back where it
/// was `fd` that ended.
pub(crate) async fn output(
    fd: &AsyncFd<OwnedFd>,
    mut writer: StreamWriter,
    moved: &watch::Sender<u64>,
) -> io::Result<StreamWriter> {
    let mut flow = Flow::new();
    loop {
        flow.gather().await;
        let mut ready = tokio::select! {
            ready = fd.readable() => ready?,
            () = writer.stopped() => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        let room = writer.room().await?;
        let over = || Err(io::ErrorKind::BrokenPipe.into());
        let read = ready
            .try_io(|fd| writer.write_now_with(|out| take_now(fd.get_ref(), out, room)).unwrap_or_else(over));
        match read {
            Ok(Ok(Taken { bytes: 0, .. })) => return Ok(writer),
            Ok(Ok(Taken { bytes, drained })) => {
                moved.send_modify(|moved| *moved += bytes as u64);
                flow.took(bytes, drained, fd.get_ref());
                if drained {
                    ready.clear_ready();
                }
            }
            Err(_) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}

/// Everything that comes from `reader` goes to `fd`, until either ends; whether the last byte ended a line.
pub(crate) async fn input(reader: &mut StreamReader, fd: &AsyncFd<OwnedFd>) -> io::Result<bool> {
    let mut buffer = vec![0; INPUT_CHUNK];
    let mut line_ended = true;
    loop {
        let length = reader.read(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        let Some(last) = bytes.last() else { return Ok(line_ended) };
        line_ended = *last == b'\n';
        write_all(fd, bytes).await?;
    }
}

/// Writes all of `bytes`, waiting for room.
pub(crate) async fn write_all(fd: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = fd.writable().await?;
        match ready.try_io(|fd| rustix::io::write(fd.get_ref(), bytes).map_err(io::Error::from)) {
            Ok(Ok(length)) => bytes = bytes.get(length..).unwrap_or_default(),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}
