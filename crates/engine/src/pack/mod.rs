//! Making tar streams: of files of the host, and of entries that came, checked, from another box.

mod error;
mod relay;
mod walk;
mod writer;

pub(crate) use error::PackError;
pub(crate) use relay::Relay;
pub(crate) use walk::{Source, pack};
pub(crate) use writer::{Attributes, TarWriter};

#[cfg(test)]
mod tests;
