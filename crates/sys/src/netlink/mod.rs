//! Talking to the kernel's network by netlink(7): messages, sockets, and the few requests that a box's network takes.
//!
//! Nothing here decides anything: which addresses, routes and rules exist is the backend's business. But for what is the
//! same for every backend: where no box may go ([`forbidden`]), and the rules of a container that say so
//! ([`container_egress`]).

mod egress;
pub mod forbidden;
mod link;
mod message;
mod namespace;
mod netfilter;
pub mod nftables;
mod policy;
mod route;
mod socket;
mod socket_owner;
#[cfg(test)]
mod testing;

pub use egress::{ContainerEgress, container_egress, container_egress_verdict};
pub use link::{
    InterfaceIndex, Ipv4Setting, LinkAnswer, get_link, list_links, new_veth, remove_link, set_link_up,
    tap_end, veth_end,
};
pub use message::{Attributes, Message};
pub use namespace::{in_network_namespace, new_network_namespace, send_in_namespaces};
pub use netfilter::{BaseChain, base_chains, chain_mentions, ruleset_generation, table_content};
pub use policy::{Packets, Verdict, new_policy};
pub use route::{
    AddressAnswer, RouteAnswer, RouteTarget, list_addresses, list_routes, new_address, new_route, route_to,
};
pub use socket::{NetlinkError, Protocol, Refusal, Socket};
pub use socket_owner::tcp_owner;
