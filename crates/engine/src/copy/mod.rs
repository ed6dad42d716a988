//! Copying files into, out of and between sandboxes, by the rules of `docker cp`.

mod copying;
mod end;
mod error;
mod host;
mod placement;
mod sizeless;
mod stream;

pub use copying::CopyReport;
pub use end::{CopyEnd, PathEnding};
pub use error::CopyError;
