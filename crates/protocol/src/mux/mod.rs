//! Many channels over one byte stream. A channel is opened by the host with a request; it carries messages both ways and
//! three byte streams, each with its own window, so that one that nobody reads holds up no other. [`Machine`] holds all
//! state and does no I/O; [`Host`] and [`Guest`] drive it over an `AsyncRead + AsyncWrite`.

mod channel;
mod connection;
mod error;
mod machine;
mod machine_channel;
mod stream;

pub use channel::Channel;
pub use connection::{Accepted, Guest, Host};
pub use error::ConnectionError;
pub use machine::{MAX_CHANNELS, MAX_OPEN_LENGTH, Machine, Role, WINDOW};
pub use stream::{StreamReader, StreamWriter};
