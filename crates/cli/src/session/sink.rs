//! Where a command's output goes: to our own streams, or into memory for one JSON document.

use std::io;

use agentkernel_model::ByteString;

use crate::stdio::StandardOutput;

/// Bytes kept of each stream; the rest is read and dropped, and said to be missing.
pub(crate) const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// One stream's beginning.
#[derive(Debug, Default)]
pub(crate) struct KeptStream {
    /// At most [`KEPT_BYTES`]; text, or `{"base64": ...}` where it isn't UTF-8.
    pub(crate) content: ByteString,
    /// Whether more came.
    pub(crate) truncated: bool,
}

/// The end of one stream.
pub(crate) enum Sink<'a> {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Opened on its first byte.
    Open(StandardOutput),
    /// Memory.
    Kept(&'a mut KeptStream),
}

impl Sink<'_> {
    /// Takes all of `bytes`.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => *self = Self::Open(StandardOutput::stdout()?),
            Self::Stderr => *self = Self::Open(StandardOutput::stderr()?),
            Self::Open(_) | Self::Kept(_) => {}
        }
        match self {
            Self::Open(stream) => stream.write_all(bytes).await,
            Self::Kept(kept) => {
                kept.take(bytes);
                Ok(())
            }
            Self::Stdout | Self::Stderr => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl KeptStream {
    fn take(&mut self, bytes: &[u8]) {
        let room = KEPT_BYTES - self.content.0.len();
        self.content.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.truncated |= bytes.len() > room;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_loss_is_said() {
        let mut kept = KeptStream::default();
        kept.take(&vec![1; KEPT_BYTES - 1]);
        kept.take(&[2]);
        assert!(!kept.truncated);
        kept.take(&[3]);
        assert!(kept.truncated);
        assert_eq!(kept.content.0.len(), KEPT_BYTES);
    }
}
