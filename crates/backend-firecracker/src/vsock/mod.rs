//! The way between host and guest as Firecracker and vhost-device-vsock give it to the host: one unix socket per machine,
//! on which a connection to a port of the guest is asked for with a line of text, and one unix socket per port of the host,
//! named after the first with `_PORT` behind. What comes over either is the guest's: hostile.

mod connect;
mod error;
mod knock;
mod line;

pub use connect::connect;
pub use error::VsockError;
pub use knock::{Knock, KnockListener};

/// The machine's socket, in the folder that its VMM works in.
pub const SOCKET: &str = "v.sock";
/// Where the agent listens in the guest.
pub const AGENT_PORT: u32 = 1024;
/// Where the host waits for the agent's knock.
pub const KNOCK_PORT: u32 = 1025;
