//! WebSockets: a command or a terminal with its input, and the way to a port.
//!
//! Everything is bounded: a message's size, what waits for a slow reader on either side, and how long a peer may be dead
//! without our noticing.

mod command;
mod connection;
mod input;
mod terminal;
mod tunnel;

pub(crate) use command::serve_command;
pub(crate) use connection::Upgrade;
pub(crate) use terminal::serve_terminal;
pub(crate) use tunnel::serve_tunnel;
