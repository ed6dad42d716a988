//! Boxes whose maker can't hand over a descriptor: how the host is met, and what is done before anybody is served.

mod door;
mod essentials;
mod relay;
mod serve;
mod setup;
mod standard;
mod visitor;

pub(crate) use relay::run as relay;
pub(crate) use serve::serve;
