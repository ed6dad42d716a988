//! How much a layer may ask of us.

use serde::{Deserialize, Serialize};

use super::UnpackError;

/// Bounds of one layer. What exceeds one ends the unpacking with an error that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackLimits {
    /// Bytes of the uncompressed stream; the free room of the file system bounds it as well.
    pub stream_bytes: u64,
    /// How many times larger than its blob a layer may be, above [`UnpackLimits::free_bytes`].
    pub ratio: u64,
    /// Up to this size of the uncompressed stream nobody asks how well it was compressed.
    pub free_bytes: u64,
    /// Headers of any kind.
    pub headers: u64,
    /// Folders in each other.
    pub depth: usize,
    /// Bytes of the paths that must be remembered until the end (folders and whiteouts).
    pub remembered_bytes: u64,
}

impl Default for UnpackLimits {
    /// Above what real images hold, below what hurts: 64 GiB a layer, 2 million entries.
    fn default() -> Self {
        Self {
            stream_bytes: 64 << 30,
            ratio: 250,
            free_bytes: 256 << 20,
            headers: 4_000_000,
            depth: 512,
            remembered_bytes: 256 << 20,
        }
    }
}

impl UnpackLimits {
    /// Whether a layer of `compressed` bytes may have given `produced`.
    pub(crate) fn check_stream(&self, compressed: u64, produced: u64) -> Result<(), UnpackError> {
        if produced > self.stream_bytes {
            return Err(UnpackError::TooMuch { what: "uncompressed bytes", limit: self.stream_bytes });
        }
        let allowed = compressed.saturating_mul(self.ratio).saturating_add(self.free_bytes);
        if produced > allowed {
            return Err(UnpackError::TooMuch {
                what: "uncompressed bytes for its compressed size",
                limit: allowed,
            });
        }
        Ok(())
    }
}
