//! Where a command's standard input comes from.

/// Where a command's standard input comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Input {
    /// The request's `stdin`; end-of-file at once where it has none.
    #[default]
    Request,
    /// Whoever started it writes to it; a `stdin` in the request is refused.
    Open,
}
