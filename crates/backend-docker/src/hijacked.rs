//! The standard streams of a process in a container as one stream: what it says on standard error is kept for messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bollard::container::LogOutput;
use bollard::errors::Error;
use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::failure::clean;

/// How much of standard error is kept.
const MAX_COMPLAINT: usize = 4096;

/// How much of what was said first is kept.
const MAX_OPENING: usize = 1024;

/// What an engine sends.
pub(crate) type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
/// What an engine takes.
pub(crate) type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Both.
pub(crate) struct Hijacked {
    output: Output,
    input: Input,
    pending: Bytes,
    complaint: Vec<u8>,
    /// The first words: an engine that can't start a process says so in the place of its output.
    opening: Vec<u8>,
}

impl Hijacked {
    /// Of what the engine gave.
    pub(crate) fn new(output: Output, input: Input) -> Self {
        Self { output, input, pending: Bytes::new(), complaint: Vec::new(), opening: Vec::new() }
    }

    /// What was said on standard error so far.
    pub(crate) fn complaint(&self) -> String {
        clean(&String::from_utf8_lossy(&self.complaint))
    }

    /// What was said first, so far as it has been read.
    pub(crate) fn opening(&self) -> String {
        clean(&String::from_utf8_lossy(&self.opening))
    }
}

impl AsyncRead for Hijacked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.pending.is_empty() {
            match ready!(self.output.as_mut().poll_next(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(LogOutput::StdErr { message })) => {
                    let room = MAX_COMPLAINT.saturating_sub(self.complaint.len());
                    self.complaint.extend(message.iter().take(room));
                }
                Some(Ok(other)) => self.pending = other.into_bytes(),
            }
        }
        let length = self.pending.len().min(out.remaining());
        let given = self.pending.split_to(length);
        out.put_slice(&given);
        let room = MAX_OPENING - self.opening.len();
        self.opening.extend(given.iter().take(room));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Hijacked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.input.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn output_is_one_stream_and_errors_are_kept_apart() {
        let said = |message: &'static [u8]| Ok(LogOutput::StdOut { message: message.into() });
        let items =
            [said(b"ab"), Ok(LogOutput::StdErr { message: "broken\x1b\n".into() }), said(b""), said(b"cde")];
        let output: Output = Box::pin(futures_util::stream::iter(items));
        let mut stream = Hijacked::new(output, Box::pin(tokio::io::sink()));
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"abcde");
        assert_eq!(stream.complaint(), "broken");
        assert_eq!(stream.opening(), "abcde");
    }
}
