//! Decompressing and hashing on one thread while another writes files.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::{UnpackError, UnpackLimits};
use crate::digest::{Digest, Hasher};

/// Large enough that handing over costs nothing, small enough to stay in the processor's cache.
const CHUNK_BYTES: usize = 256 << 10;

/// How far decompression may be ahead of writing.
const CHUNKS_AHEAD: usize = 16;

/// What the decompressing thread found in the end.
pub(crate) struct Produced {
    /// Of the uncompressed stream; only of what was read where the reader gave up.
    pub(crate) digest: Digest,
}

/// The reader's end.
pub(crate) struct Chunks {
    incoming: Receiver<Result<Vec<u8>, UnpackError>>,
    /// Buffers that have been read go back, so that no new memory is touched.
    used: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    failure: Option<UnpackError>,
}

/// Starts to read `source`, a layer whose blob has `compressed` bytes, on a thread of `scope`.
pub(crate) fn start<'scope, R: Read + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    source: R,
    compressed: u64,
    limits: UnpackLimits,
) -> io::Result<(Chunks, ScopedJoinHandle<'scope, Produced>)> {
    let (send, incoming) = sync_channel(CHUNKS_AHEAD);
    let (used, returned) = sync_channel(CHUNKS_AHEAD + 2);
    let producer = Producer { source, send, returned, compressed, limits };
    let handle = std::thread::Builder::new()
        .name("layer decompression".to_owned())
        .spawn_scoped(scope, move || producer.run())?;
    Ok((Chunks { incoming, used, current: Vec::new(), position: 0, failure: None }, handle))
}

struct Producer<R> {
    source: R,
    send: SyncSender<Result<Vec<u8>, UnpackError>>,
    returned: Receiver<Vec<u8>>,
    compressed: u64,
    limits: UnpackLimits,
}

impl<R: Read> Producer<R> {
    fn run(mut self) -> Produced {
        let mut hasher = Hasher::new();
        let mut produced = 0;
        loop {
            let chunk = self.chunk(&mut hasher, &mut produced);
            let last = !matches!(&chunk, Ok(bytes) if !bytes.is_empty());
            let end = matches!(&chunk, Ok(bytes) if bytes.is_empty());
            // Nobody listens where the reader has failed: it says why.
            if end || self.send.send(chunk).is_err() || last {
                return Produced { digest: hasher.finish() };
            }
        }
    }

    /// A full buffer, a shorter one at the end, an empty one behind it.
    fn chunk(&mut self, hasher: &mut Hasher, produced: &mut u64) -> Result<Vec<u8>, UnpackError> {
        let mut buffer = self.returned.try_recv().unwrap_or_default();
        buffer.resize(CHUNK_BYTES, 0);
        let mut filled = 0;
        while filled < CHUNK_BYTES {
            match self.source.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(UnpackError::Decompress { source }),
            }
        }
        buffer.truncate(filled);
        hasher.update(&buffer);
        *produced += filled as u64;
        self.limits.check_stream(self.compressed, *produced)?;
        Ok(buffer)
    }
}

impl Chunks {
    /// Why the stream broke, where the other thread knows it better than the error that reading gave.
    pub(crate) fn failure(&mut self) -> Option<UnpackError> {
        self.failure.take()
    }

    /// Reads to the end, so that the digest is of the whole stream.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        loop {
            let count = self.fill_buf()?.len();
            if count == 0 {
                return Ok(());
            }
            self.consume(count);
        }
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.current.len() {
            let used = std::mem::take(&mut self.current);
            self.position = 0;
            if used.capacity() > 0 && self.used.try_send(used).is_err() {
                tracing::trace!("a buffer is not used again");
            }
            match self.incoming.recv() {
                Ok(Ok(chunk)) => self.current = chunk,
                Ok(Err(failure)) => {
                    let error = io::Error::other(failure.to_string());
                    self.failure = Some(failure);
                    return Err(error);
                }
                // The end: the other thread has let go of its side.
                Err(_) => {}
            }
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, count: usize) {
        self.position = (self.position + count).min(self.current.len());
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
