//! Boxes whose maker can't hand over a descriptor: how the host is met, and what is done before anybody is served.

mod door;
mod essentials;
mod relay;
mod serve;
mod setup;
mod standard;
mod visitor;

pub(crate) use essentials::make_below as essentials_below;
pub(crate) use relay::run as relay;
pub(crate) use serve::{Gate, Visitors, farewell, serve};
pub(crate) use setup::limit;
