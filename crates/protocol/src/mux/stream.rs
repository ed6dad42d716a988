//! The two ends of a byte stream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::channel::Channel;
use super::machine_channel::{NoWrite, Read};
use crate::Stream;

/// The reading end. Dropping it tells the writer to stop. A stream that stops before it is complete is an error of kind
/// `ConnectionAborted`, the end of the connection one of kind `ConnectionReset`.
pub struct StreamReader {
    channel: Channel,
    stream: Stream,
}

impl StreamReader {
    pub(super) fn new(channel: Channel, stream: Stream) -> Self {
        Self { channel, stream }
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let open = &self.channel.open;
        let read = open.hold.shared.lock().poll_read(open.id, self.stream, out, context.waker());
        match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Read::Bytes | Read::End)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(Read::Aborted)) => {
                let what = "the stream stopped before it was complete";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, what)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
        }
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        let open = &self.channel.open;
        open.hold.shared.lock().stop_stream(open.id, self.stream);
    }
}

/// The writing end. Shutting it down is the stream's proper end; dropping it before that aborts the stream. Writing to a
/// stream that the reader has stopped is an error of kind `BrokenPipe`.
pub struct StreamWriter {
    channel: Channel,
    stream: Stream,
}

impl StreamWriter {
    pub(super) fn new(channel: Channel, stream: Stream) -> Self {
        Self { channel, stream }
    }

    /// Waits until something can be written; at most so many bytes.
    pub async fn room(&mut self) -> io::Result<usize> {
        poll_fn(|context| {
            let open = &self.channel.open;
            open.hold.shared.lock().poll_room(open.id, self.stream, context.waker()).map_err(io_error)
        })
        .await
    }

    /// Writes without waiting, no more than [`StreamWriter::room`] said just before.
    pub fn write_now(&mut self, bytes: &[u8]) {
        let open = &self.channel.open;
        open.hold.shared.lock().write(open.id, self.stream, bytes);
    }

    /// The same with what `fill` appends to the buffer that it is given, so that bytes needn't be copied from another: no
    /// more than [`StreamWriter::room`] said just before, and without touching what is in the buffer. `None`, and nothing
    /// asked of `fill`, where the stream is over.
    pub fn write_now_with<T>(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> T) -> Option<T> {
        let open = &self.channel.open;
        open.hold.shared.lock().write_with(open.id, self.stream, fill)
    }

    /// Waits until the reader wants no more. One task at a time may wait for this or write.
    pub async fn stopped(&mut self) {
        let open = &self.channel.open;
        poll_fn(|context| open.hold.shared.lock().poll_stopped(open.id, self.stream, context.waker())).await;
    }

    /// The stream's proper end.
    pub fn finish(self) {
        self.end(true);
    }

    fn end(&self, complete: bool) {
        let open = &self.channel.open;
        open.hold.shared.lock().end_stream(open.id, self.stream, complete);
    }
}

fn io_error(error: NoWrite) -> io::Error {
    match error {
        NoWrite::Stopped => io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the stream any more"),
        NoWrite::Ended(error) => error.into(),
    }
}

impl AsyncWrite for StreamWriter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let open = &self.channel.open;
        let mut machine = open.hold.shared.lock();
        match machine.poll_room(open.id, self.stream, context.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(io_error(error))),
            Poll::Ready(Ok(room)) => {
                let length = room.min(bytes.len());
                machine.write(open.id, self.stream, bytes.get(..length).unwrap_or(bytes));
                Poll::Ready(Ok(length))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end(true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.end(false);
    }
}
