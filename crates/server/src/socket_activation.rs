//! Sockets that systemd opened for us (sd_listen_fds(3)).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, getsockname};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::Listener;

/// How many sockets were handed to the process `pid`, by the values of `LISTEN_PID` and `LISTEN_FDS`; 0 where they are for
/// somebody else, or there are none.
pub fn handed_over(listen_pid: Option<&str>, listen_fds: Option<&str>, pid: u32) -> u32 {
    let is_ours = listen_pid.and_then(|text| text.parse::<u32>().ok()) == Some(pid);
    // More is no unit of ours.
    listen_fds.and_then(|text| text.parse::<u32>().ok()).filter(|count| is_ours && *count <= 16).unwrap_or(0)
}

/// Each as the kind of door that it is. Must be called in a runtime.
pub fn listeners_of(sockets: Vec<OwnedFd>, tls: Option<&TlsAcceptor>) -> io::Result<Vec<Listener>> {
    sockets.into_iter().map(|socket| listener_of(socket, tls)).collect()
}

fn listener_of(socket: OwnedFd, tls: Option<&TlsAcceptor>) -> io::Result<Listener> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    let family = getsockname(&socket)?.address_family();
    match family {
        AddressFamily::UNIX => {
            Ok(Listener::Unix { listener: UnixListener::from_std(socket.into())?, file: None })
        }
        AddressFamily::INET | AddressFamily::INET6 => {
            Ok(Listener::Tcp { listener: TcpListener::from_std(socket.into())?, tls: tls.cloned() })
        }
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "a socket that is neither TCP nor unix")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_another_process_are_not_ours() {
        assert_eq!(handed_over(Some("7"), Some("2"), 7), 2);
        for (pid, fds) in
            [(Some("8"), Some("2")), (None, Some("2")), (Some("7"), None), (Some("7"), Some("x"))]
        {
            assert_eq!(handed_over(pid, fds, 7), 0);
        }
        assert_eq!(handed_over(Some("7"), Some("100000"), 7), 0);
    }

    #[tokio::test]
    async fn each_socket_becomes_its_kind_of_door() {
        let dir = tempfile::tempdir().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let unix = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let doors = listeners_of(vec![tcp.into(), unix.into()], None).unwrap();
        assert!(matches!(doors[..], [Listener::Tcp { .. }, Listener::Unix { file: None, .. }]));
    }
}
