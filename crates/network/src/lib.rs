//! `network on` for boxes and machines that share this host: an own network namespace with a way out, names that resolve,
//! and nothing of the host within reach.
//!
//! As root a veth pair leads from the box to the host, whose kernel forwards and translates (`veth`) under the rules of one
//! nftables table (`firewall`, `rules`), written by this program itself. Without rights `pasta` carries the packets in user
//! space (`pasta`). In both cases the box's own kernel tables refuse what is never to be reached (`forbidden`): as root so
//! that the loss of the rules alone opens nothing, without rights because nothing else would.
//!
//! A virtual machine has a kernel of its own, whose tables are its own to change. So it gets such a namespace in front of it
//! (`machine`): a router with a TAP device, through whose tables all of its packets have to pass.

mod current;
mod error;
mod firewall;
mod forbidden;
mod forwarding;
mod host;
mod install_record;
mod machine;
mod pasta;
mod program;
mod range;
mod resolver;
mod rules;
#[cfg(test)]
mod tests;
mod veth;

pub use current::CurrentNetwork;
pub use error::NetworkError;
pub use host::{Connected, NetworkHost, Stamp};
pub use machine::{MachineNetwork, TAP};
