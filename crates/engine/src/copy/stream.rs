//! Between the asynchronous streams of a guest and blocking code on a thread of its own. At most some hundred kilobytes
//! are underway.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use agentkernel_backend::OutputStream;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS_UNDERWAY: usize = 4;

type Chunk = io::Result<Vec<u8>>;

/// The blocking side of a stream that a guest sends. The task ends when the reader is dropped.
pub(super) fn reading(mut stream: OutputStream) -> (BlockingReader, JoinHandle<()>) {
    let (send, receive) = mpsc::channel(CHUNKS_UNDERWAY);
    let task = tokio::spawn(async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = stream.read_buf(&mut chunk).await;
            let last = !matches!(read, Ok(count) if count > 0);
            let sent = match read {
                Ok(0) => return,
                Ok(_) => send.send(Ok(chunk)).await,
                Err(error) => send.send(Err(error)).await,
            };
            if last || sent.is_err() {
                return;
            }
        }
    });
    (BlockingReader { chunks: receive, current: Vec::new(), position: 0 }, task)
}

/// Reads what the task receives.
pub(super) struct BlockingReader {
    chunks: mpsc::Receiver<Chunk>,
    current: Vec<u8>,
    position: usize,
}

impl Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.current.len() {
            let Some(chunk) = self.chunks.blocking_recv() else { return Ok(0) };
            self.current = chunk?;
            self.position = 0;
        }
        let count = buffer.len().min(self.current.len() - self.position);
        buffer[..count].copy_from_slice(&self.current[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

/// The two ends of a stream that blocking code makes for a guest.
pub(super) fn writing() -> (BlockingWriter, OutputStream) {
    let (send, receive) = mpsc::channel(CHUNKS_UNDERWAY);
    let reader = ChunkStream { chunks: receive, current: Vec::new(), position: 0, ended: false };
    (BlockingWriter { chunks: send, pending: Vec::new() }, Box::new(reader))
}

/// The blocking side. Unless [`BlockingWriter::end`] is called the reader's stream ends with an error: half a stream must
/// not look like a whole one.
pub(super) struct BlockingWriter {
    chunks: mpsc::Sender<Chunk>,
    pending: Vec<u8>,
}

impl BlockingWriter {
    fn send(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.pending);
        self.chunks.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// All was written.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.send()?;
        self.chunks.blocking_send(Ok(Vec::new())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for &mut BlockingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK_BYTES - self.pending.len());
        self.pending.extend_from_slice(&bytes[..count]);
        if self.pending.len() == CHUNK_BYTES {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// The asynchronous side: an empty chunk is the end, a closed channel without one an error.
struct ChunkStream {
    chunks: mpsc::Receiver<Chunk>,
    current: Vec<u8>,
    position: usize,
    ended: bool,
}

impl AsyncRead for ChunkStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        if self.position == self.current.len() {
            self.current = match ready!(self.chunks.poll_recv(context)) {
                Some(chunk) => chunk?,
                None => {
                    let why = "what makes the stream failed";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, why)));
                }
            };
            self.position = 0;
            self.ended = self.current.is_empty();
        }
        let count = buffer.remaining().min(self.current.len() - self.position);
        buffer.put_slice(&self.current[self.position..self.position + count]);
        self.position += count;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_in_both_directions() {
        let content: Vec<u8> = (0..1_000_003u32).map(|n| (n % 251) as u8).collect();
        let (mut writer, stream) = writing();
        let (mut reader, _task) = reading(stream);
        let expected = content.clone();
        let writing = tokio::task::spawn_blocking(move || {
            for piece in content.chunks(70_001) {
                (&mut writer).write_all(piece).unwrap();
            }
            writer.end().unwrap();
        });
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        writing.await.unwrap();
        let got = read.await.unwrap().unwrap();
        assert_eq!(got.len(), expected.len());
        assert!(got == expected);
    }

    #[tokio::test]
    async fn a_stream_that_isnt_ended_is_broken() {
        let (mut writer, mut stream) = writing();
        let writing =
            tokio::task::spawn_blocking(move || (&mut writer).write_all(b"half").and((&mut writer).flush()));
        let mut all = Vec::new();
        assert!(stream.read_to_end(&mut all).await.is_err());
        assert_eq!(all, b"half");
        writing.await.unwrap().unwrap();
    }
}
