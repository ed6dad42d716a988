//! The HTTP API: routes, keys, limits, streams; on TCP and on a unix socket.
//!
//! Every verb is one of [`agentkernel_service::Service`]'s; here requests become its calls and its results become
//! answers. Nothing here decides what may be done, except who may talk to it at all (`guard`).

mod access;
mod answer;
mod connection;
mod docs_page;
mod extract;
pub mod guard;
mod keys;
mod limits;
mod listen;
mod local_peers;
mod mount;
mod openapi;
mod router;
mod routes;
mod serve;
mod shapes;
mod shutdown;
mod socket;
mod socket_activation;
mod stream;
mod take_route;
mod tls;
mod unix_socket;

pub use access::{Access, access, routes};
pub use keys::{KeyEntry, KeyError, KeyFile, NewKey};
pub use limits::ConnectionLimits;
pub use listen::{
    ListenError, Listener, Protection, SocketFile, addresses, bind_tcp, bind_unix, check_exposure,
};
pub use local_peers::LocalPeers;
pub use mount::mounted;
pub use openapi::openapi_json;
pub use router::api_router;
pub use serve::{Closing, serve};
pub use shutdown::shutdown_route;
pub use socket_activation::{handed_over, listeners_of};
pub use take_route::take_route;
pub use tls::{TlsError, load_tls};
pub use unix_socket::UnixSocket;
