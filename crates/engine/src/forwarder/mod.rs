//! The process that keeps the published ports of a sandbox open after the command that started it has ended.
//!
//! The starting command binds the ports itself, so that "address in use" is its own failure. It then starts the
//! forwarder, which waits on its standard input; writes the forwarder's process id into the record; and only then hands
//! it the listening sockets over that input. If the command dies before, the input ends and the forwarder with it: no
//! forwarder carries a connection without being recorded. Stop, remove and recovery end it by what the record says.

mod process;
mod serve;
mod spawn;

pub(crate) use process::{end_forwarder, is_alive};
pub use serve::serve;
pub use spawn::{ForwarderProgram, ForwarderSpawner, HeldForwarder, ReleaseListeners, receive_listeners};
