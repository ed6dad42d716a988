//! `network on` for native boxes: an own network namespace with a way out, names that resolve, and nothing of the host
//! within reach.
//!
//! As root a veth pair leads from the box to the host, whose kernel forwards and translates ([`veth`]) under the rules
//! of one nftables table ([`firewall`], [`rules`]), written by this program itself. Without rights `pasta` carries the packets in user space
//! ([`pasta`]). In both cases the box's own kernel tables refuse what is never to be reached ([`forbidden`]): as root so
//! that the loss of the rules alone opens nothing, without rights because nothing else would.

mod error;
mod firewall;
mod forbidden;
mod forwarding;
mod host;
mod install_record;
mod pasta;
mod program;
mod range;
mod resolver;
mod rules;
#[cfg(test)]
mod tests;
mod veth;

pub(crate) use error::NetworkError;
pub(crate) use host::{Connected, NetworkHost, Stamp};
