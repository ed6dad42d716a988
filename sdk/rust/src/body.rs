//! Bodies that are too large to hold: read and written as they come.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::Error;
use crate::error::Source;

/// What is sent.
pub(crate) type Outgoing = UnsyncBoxBody<Bytes, Source>;

/// How much is read at once from what a caller sends.
const CHUNK_BYTES: usize = 64 << 10;

pub(crate) fn empty() -> Outgoing {
    Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Outgoing {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// All that `reader` has; of known `length` where the caller knows it.
pub(crate) fn reader(reader: impl AsyncRead + Send + Unpin + 'static, length: Option<u64>) -> Outgoing {
    Reading { reader, buffer: vec![0; CHUNK_BYTES], length }.boxed_unsync()
}

struct Reading<R> {
    reader: R,
    buffer: Vec<u8>,
    length: Option<u64>,
}

impl<R: AsyncRead + Unpin> Body for Reading<R> {
    type Data = Bytes;
    type Error = Source;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Source>>> {
        let this = self.get_mut();
        let mut buffer = ReadBuf::new(&mut this.buffer);
        match Pin::new(&mut this.reader).poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(None),
            Poll::Ready(Ok(())) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(buffer.filled())))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// An answer's bytes as they come. Dropping it ends the request.
#[derive(Debug)]
pub struct ByteStream {
    body: Incoming,
    from: String,
}

impl ByteStream {
    pub(crate) fn new(body: Incoming, from: String) -> Self {
        Self { body, from }
    }

    /// The next bytes; `None` at the end. An error where the connection broke before it.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    // Trailers carry nothing here.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(Error::Network {
                        to: self.from.clone(),
                        action: "the answer was read",
                        source: error.into(),
                    });
                }
            }
        }
    }

    /// The rest of it in memory; an error where that is more than `most` bytes.
    pub async fn read_to_end(&mut self, most: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if bytes.len() > most - all.len() {
                let problem = format!("it is larger than {most} bytes");
                return Err(Error::Answer { to: self.from.clone(), problem });
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// Writes the rest of it to `sink`; returns how many bytes that were.
    pub async fn copy_to(&mut self, sink: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Error> {
        let failed = |source: io::Error| Error::Network {
            to: "the caller's writer".to_owned(),
            action: "the answer was passed on",
            source: source.into(),
        };
        let mut written = 0;
        while let Some(bytes) = self.next().await? {
            sink.write_all(&bytes).await.map_err(failed)?;
            written += bytes.len() as u64;
        }
        sink.flush().await.map_err(failed)?;
        Ok(written)
    }

    /// Whom it comes from, for errors.
    pub(crate) fn from(&self) -> &str {
        &self.from
    }
}
