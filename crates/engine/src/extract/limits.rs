//! How much a stream may ask of us.

/// Bounds of one stream. What exceeds one ends the extraction with an error that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Headers of any kind: entries, and the extra headers before them.
    pub headers: u64,
    /// Bytes of one extra header (pax or GNU long name).
    pub extra_header_bytes: u64,
    /// Bytes of all extra headers together.
    pub extra_headers_bytes: u64,
    /// Bytes of one path.
    pub path_bytes: usize,
    /// Folders in each other.
    pub depth: usize,
    /// Bytes of all files together.
    pub content_bytes: u64,
}

impl Default for Limits {
    /// Far above what people copy, far below what hurts. The content is bounded by the destination's free space, see
    /// [`crate::extract::Folder::room`].
    fn default() -> Self {
        Self {
            headers: 4_000_000,
            extra_header_bytes: 64 << 10,
            extra_headers_bytes: 1 << 30,
            path_bytes: 4095,
            depth: 512,
            content_bytes: u64::MAX,
        }
    }
}
