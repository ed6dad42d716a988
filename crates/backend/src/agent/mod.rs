//! The guest that speaks to our agent over one byte stream. Everything that arrives is hostile until it was checked here.

mod check;
mod entrance;
mod execution;
mod guest;
mod ordered_log;
mod rights;
mod stream;
mod unspoken;

pub use entrance::Entrance;
pub use guest::AgentGuest;
pub use rights::AGENT_CAPABILITIES;
pub use unspoken::UnspokenAgent;
