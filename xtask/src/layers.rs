//! Dependencies between crates point downwards, and a heavy dependency enters at one place.

mod check;
mod table;

pub(crate) use check::run;
