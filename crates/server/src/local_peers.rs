//! Whose process is at the other end of a connection over loopback: only the server's own user needs no key there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use agentkernel_sys::netlink::{NetlinkError, Protocol, Socket, tcp_owner};

/// Asks the kernel.
#[derive(Clone)]
pub struct LocalPeers {
    socket: Option<Arc<Mutex<Socket>>>,
}

impl LocalPeers {
    /// Where the kernel answers. Few don't (without `inet_diag`); whether this one does is tried with a connection of our
    /// own.
    pub fn open() -> Self {
        match Self::tried() {
            Ok(Some(socket)) => Self { socket: Some(Arc::new(Mutex::new(socket))) },
            Ok(None) => Self::nobody(),
            Err(error) => {
                tracing::debug!(%error, "the kernel doesn't tell whose a connection is");
                Self::nobody()
            }
        }
    }

    /// Where it isn't asked.
    pub fn nobody() -> Self {
        Self { socket: None }
    }

    fn tried() -> Result<Option<Socket>, Box<dyn std::error::Error>> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let client = std::net::TcpStream::connect(listener.local_addr()?)?;
        let mut socket = Socket::open(Protocol::SocketDiagnosis)?;
        let owner = tcp_owner(&mut socket, client.local_addr()?, client.peer_addr()?)?;
        Ok((owner == Some(rustix::process::geteuid().as_raw())).then_some(socket))
    }

    /// Whether the kernel answers at all.
    pub fn are_known(&self) -> bool {
        self.socket.is_some()
    }

    /// The user whose process made the connection; `None` where it isn't of this machine, or nobody can tell.
    pub(crate) fn owner(&self, peer: SocketAddr, local: SocketAddr) -> Option<u32> {
        let socket = self.socket.as_ref()?;
        if !peer.ip().to_canonical().is_loopback() {
            return None;
        }
        let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        let owner: Result<Option<u32>, NetlinkError> = tcp_owner(&mut socket, peer, local);
        owner.unwrap_or_else(|error| {
            tracing::debug!(%error, %peer, "the kernel didn't tell whose a connection is");
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_connections_are_ours() {
        let peers = LocalPeers::open();
        if !peers.are_known() {
            println!("SKIPPED: this kernel doesn't tell whose a connection is");
            return;
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let local = server.local_addr().unwrap();
        assert_eq!(peers.owner(peer, local), Some(rustix::process::geteuid().as_raw()));
        drop(client);
        assert_eq!(
            peers.owner(peer, local),
            None,
            "of a socket that nobody has any more nobody is the owner"
        );
        assert_eq!(LocalPeers::nobody().owner(peer, local), None);
    }
}
