//! A backend in memory, stricter than real ones: it does what the contract says and no more, delivers output in the most
//! awkward way that the contract allows, fails where it is told to, and notes every misuse by its caller. Commands are a
//! small shell and a dozen programs over a file tree in memory; nothing runs on the host.
//!
//! It must not become a second implementation of anything: what it can't simulate it either accepts without effect
//! ([`FakeBackend::new`], for tests of the engine) or refuses by name ([`FakeBackend::honest`], for the conformance
//! suite).

mod archive;
mod backend;
mod command;
mod ephemeral;
mod fault;
mod guest;
mod images;
mod judgement;
mod log;
mod machine;
mod ordered_log;
mod snapshots;
mod stream;
mod tree;
mod violation;

mod programs;
mod shell;
#[cfg(test)]
mod tests;

pub use backend::FakeBackend;
pub use command::Ending;
pub use fault::{Fault, Step};
pub use machine::Call;
pub use violation::Violation;
