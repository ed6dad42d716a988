//! `setup`: this machine as a whole, and what microVMs are made with.

mod command;
mod firecracker;

pub(crate) use command::{Args, run};
