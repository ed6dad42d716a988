//! Boxes in a little world of network namespaces: a host, an Internet, neighbours. This machine's own network is left
//! alone: each test's thread lives in a namespace of its own.

mod egress;
mod listing;
mod machine;
mod pasta;
mod unaided;
mod veth;
mod veth_host;
mod world;
