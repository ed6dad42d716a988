//! Terminals that outlive the connection of who looks at them.
//!
//! Each has a task that owns its command, keeps the end of what it has shown, and serves one client at a time. Who comes
//! later takes it over. A client that reads slowly makes the program wait, as a real terminal does; without a client the
//! program goes on and the oldest output is forgotten.

mod attached;
mod owner;
mod ring;
mod table;
mod verbs;

pub use attached::{Attached, TerminalEvent, TerminalInput};
pub(crate) use table::Terminals;
