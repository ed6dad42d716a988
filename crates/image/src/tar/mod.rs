//! Reading tar streams that strangers made: one header and its extras in memory, never a file. Decides what an entry
//! *says*; what may be done with it is decided by who reads.

mod error;
mod header;
mod pax;
mod reader;

pub use error::TarError;
pub use reader::{Entry, EntryKind, ModifiedTime, TarLimits, TarReader};

pub(crate) use reader::{ended_early, shortened};

#[cfg(test)]
mod tests;
