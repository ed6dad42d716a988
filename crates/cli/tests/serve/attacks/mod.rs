//! What hostile clients try on a server's port: each attempt is refused with its documented code, and the server stays
//! alive and fast.

mod bodies;
mod browser;
mod crowds;
mod framing;
mod heads;
mod keys;
mod paths;
mod scopes;
mod slow;
mod sockets;
