//! Output as the contract allows it at its worst: single bytes, odd sizes, short reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, DuplexStream, ReadBuf};

use super::command::Command;
use super::violation::{Violation, Violations};

/// What a pipe holds before its writer waits, as a Linux pipe.
pub(super) const PIPE_BYTES: usize = 65_536;

/// The host's end of a command's output.
pub(super) struct AwkwardReader {
    inner: DuplexStream,
    sizes: Arc<[usize]>,
    turn: usize,
    ended: bool,
    witness: Option<(Violations, Arc<Command>, &'static str)>,
}

impl AwkwardReader {
    /// Reads `inner` in pieces of at most `sizes`, in turn.
    pub(super) fn new(inner: DuplexStream, sizes: Arc<[usize]>) -> Self {
        Self { inner, sizes, turn: 0, ended: false, witness: None }
    }

    /// Notes a violation when it is dropped before its end.
    pub(super) fn watched(
        mut self,
        violations: &Violations,
        command: &Arc<Command>,
        stream: &'static str,
    ) -> Self {
        self.witness = Some((violations.clone(), Arc::clone(command), stream));
        self
    }
}

impl AsyncRead for AwkwardReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = self.sizes[self.turn % self.sizes.len()].clamp(1, 1 << 20).min(buffer.remaining());
        if size == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut piece = vec![0; size];
        let mut piece = ReadBuf::new(&mut piece);
        match Pin::new(&mut self.inner).poll_read(context, &mut piece) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(result) => result?,
        }
        self.turn += 1;
        self.ended |= piece.filled().is_empty();
        buffer.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl Drop for AwkwardReader {
    fn drop(&mut self) {
        if let Some((violations, command, stream)) = self.witness.take()
            && !self.ended
            && command.dropped_early(stream)
        {
            violations.note(Violation::OutputNotDrained { exec: command.id.to_string(), stream });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn reads_are_short_and_lose_nothing() {
        let (mut near, far) = tokio::io::duplex(PIPE_BYTES);
        let mut reader = AwkwardReader::new(far, [1, 5].into());
        near.write_all(b"0123456789").await.unwrap();
        drop(near);
        let mut buffer = [0; 16];
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 1);
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 5);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"6789");
    }
}
