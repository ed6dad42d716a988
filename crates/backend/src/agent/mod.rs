//! The guest that speaks to our agent over one byte stream. Everything that arrives is hostile until it was checked here.

mod check;
mod execution;
mod guest;
mod stream;

pub use guest::AgentGuest;
