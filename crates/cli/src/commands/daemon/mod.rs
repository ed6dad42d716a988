//! `daemon`: the server on a unix socket with its pool, one verb a file.

mod background;
mod group;
mod restart;
mod start;
mod status;
mod stop;

pub(crate) use group::{Args, run};
