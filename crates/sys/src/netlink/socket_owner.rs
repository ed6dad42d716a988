//! Whose a TCP socket of this machine is: sock_diag(7).

use std::net::{IpAddr, SocketAddr};

use super::message::Message;
use super::socket::{NetlinkError, Socket};

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `struct inet_diag_req_v2` of linux/inet_diag.h: family, protocol, extensions, padding, states, socket.
const REQUEST_BYTES: usize = 8 + ID_BYTES;
/// `struct inet_diag_sockid`: two ports, two addresses of 16 bytes, interface, cookie.
const ID_BYTES: usize = 48;
/// Where user and inode stand in `struct inet_diag_msg`: behind family, state, timer, retransmissions, socket, expiry and
/// the lengths of two queues.
const UID_AT: usize = 4 + ID_BYTES + 12;
const INODE_AT: usize = UID_AT + 4;

/// The user whose process has the socket that is bound to `this` and connected to `other`, in this network namespace.
/// `None` where there is no such socket, or no process has it any more: the kernel then names root, who had nothing to do
/// with it.
pub fn tcp_owner(
    socket: &mut Socket,
    this: SocketAddr,
    other: SocketAddr,
) -> Result<Option<u32>, NetlinkError> {
    let mut found = None;
    match socket.exchange(vec![request(this, other)], |_, payload| found = owner(payload)) {
        Ok(()) => Ok(found),
        // ENOENT: no such socket.
        Err(NetlinkError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn request(this: SocketAddr, other: SocketAddr) -> Message {
    let (this_address, other_address) = (this.ip().to_canonical(), other.ip().to_canonical());
    let mut body = [0; REQUEST_BYTES];
    body[0] = if this_address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    body[1] = libc::IPPROTO_TCP as u8;
    // All states.
    body[4..8].fill(0xff);
    body[8..10].copy_from_slice(&this.port().to_be_bytes());
    body[10..12].copy_from_slice(&other.port().to_be_bytes());
    put_address(&mut body[12..28], this_address);
    put_address(&mut body[28..44], other_address);
    // Any interface; no cookie (INET_DIAG_NOCOOKIE).
    body[48..56].fill(0xff);
    Message::new("look up the owner of a connection", BY_FAMILY, 0).body(&body)
}

fn put_address(place: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(address) => place[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => place.copy_from_slice(&address.octets()),
    }
}

fn owner(payload: &[u8]) -> Option<u32> {
    let number = |at: usize| Some(u32::from_ne_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let inode = number(INODE_AT)?;
    // A socket without an inode belongs to no process.
    if inode == 0 { None } else { number(UID_AT) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::netlink::Protocol;

    fn pair(address: &str) -> Option<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind(address).ok()?;
        let client = TcpStream::connect(listener.local_addr().ok()?).ok()?;
        Some((client, listener.accept().ok()?.0))
    }

    #[test]
    fn a_connection_is_its_users_until_its_process_lets_go() {
        let me = rustix::process::geteuid().as_raw();
        let mut socket = match Socket::open(Protocol::SocketDiagnosis) {
            Ok(socket) => socket,
            Err(error) => return println!("SKIPPED: {error}"),
        };
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Some((client, server)) = pair(address) else {
                println!("SKIPPED: {address} can't be used here");
                continue;
            };
            let (this, other) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            let found = tcp_owner(&mut socket, this, other).unwrap();
            if found.is_none() {
                return println!("SKIPPED: this kernel has no inet_diag");
            }
            assert_eq!(found, Some(me));
            let stranger = SocketAddr::new(this.ip(), this.port() ^ 1);
            assert_eq!(tcp_owner(&mut socket, stranger, other).unwrap(), None);
            drop(client);
            assert_eq!(
                tcp_owner(&mut socket, this, other).unwrap(),
                None,
                "an orphan is nobody's, least of all root's"
            );
            drop(server);
        }
    }

    #[test]
    fn short_answers_name_nobody() {
        assert_eq!(owner(&[0; 72]), None);
        assert_eq!(owner(&[1; 71]), None);
        assert_eq!(owner(&[1; 72]), Some(0x0101_0101));
    }
}
