//! One connection: what watches its time, its bodies and its place among the others.

mod body;
mod phase;
mod request;
mod slots;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use phase::Phase;
pub(crate) use request::RequestService;
pub(crate) use slots::{Peer, Slot, Slots};
pub(crate) use stream::WatchedStream;
