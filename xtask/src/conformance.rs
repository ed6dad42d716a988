//! What the conformance suite found of each backend: collected by `cargo xtask test`, recorded by
//! `cargo xtask conformance`, shown in docs/capabilities.md.
//!
//! What a backend can do depends on the machine, so the page is not made from the machine that it is generated on but
//! from a recorded run, which says where it was.

mod compare;
mod record;
mod table;

pub(crate) use compare::compare;
pub(crate) use record::{MARK, keep, record, take_in};
pub(crate) use table::newest as table;
