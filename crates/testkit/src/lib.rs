//! A strict fake backend and the conformance suite that defines what a backend is. For tests only.

pub mod conformance;
pub mod fake;
mod plain_spec;

pub use plain_spec::plain_spec;
