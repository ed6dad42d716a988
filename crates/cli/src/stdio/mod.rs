//! The process's own standard streams, used from one asynchronous thread without touching flags that the parent shell
//! shares with us (O_NONBLOCK belongs to the open file description, so setting it would leak into the shell).

mod closed;
mod input;
mod output;
mod route;

pub(crate) use closed::refuse_closed_output;
pub(crate) use input::StandardInput;
pub(crate) use output::StandardOutput;
