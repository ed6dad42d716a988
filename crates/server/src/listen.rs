//! The doors: which may be opened, and opening them.

use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a port may stay taken by what is left of a server that was killed: a process that it had cloned a moment before
/// holds a copy of the listener until it has run for the first time.
const PORT_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const PORT_PAUSE: Duration = Duration::from_millis(10);

/// Why a door can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A host that is no address.
    #[error(
        "{host:?} is no address to listen on: give one of this machine's, such as 127.0.0.1, or localhost"
    )]
    Host {
        /// What was given.
        host: String,
    },
    /// Others could come in, and what keeps them out is missing.
    #[error(
        "{address} can be reached from other machines, and this server has {missing}: {fix}; or say that it is meant \
         so with --allow-insecure"
    )]
    Exposed {
        /// Where it would listen.
        address: IpAddr,
        /// What is missing.
        missing: &'static str,
        /// What would do.
        fix: &'static str,
    },
    /// The address is taken, or isn't ours.
    #[error("could not listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The socket's folder or file.
    #[error("could not {action} {}: {source}", path.display())]
    Socket {
        /// The step.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket's folder lets others in.
    #[error("{} can be entered by others, and whoever reaches the socket in it controls the daemon: chmod 700 it", path.display())]
    OpenFolder {
        /// The folder.
        path: PathBuf,
    },
}

/// An open door.
pub enum Listener {
    /// TCP, encrypted or not.
    Tcp {
        /// The socket.
        listener: TcpListener,
        /// What encrypts.
        tls: Option<TlsAcceptor>,
    },
    /// A unix socket, with the file that is removed with it where we made it.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Its file.
        file: Option<SocketFile>,
    },
}

/// What lies between the world and a server that listens beyond loopback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Protection {
    /// There is an API key.
    pub key: bool,
    /// There is TLS.
    pub tls: bool,
    /// The operator said that no key is needed.
    pub key_waived: bool,
    /// The operator said that no encryption is needed: something in front of us does it.
    pub tls_waived: bool,
}

/// Whether a server may listen there. Loopback always; elsewhere with key and TLS, or what the operator waived.
pub fn check_exposure(address: IpAddr, protection: Protection) -> Result<(), ListenError> {
    if address.to_canonical().is_loopback() {
        return Ok(());
    }
    let (key, tls) = (protection.key || protection.key_waived, protection.tls || protection.tls_waived);
    let make_key = "make one with `agentkernel key create NAME`";
    let give_tls = "give --tls-cert and --tls-key";
    let (missing, fix) = match (key, tls) {
        (true, true) => return Ok(()),
        (false, true) => ("no API key", make_key),
        (true, false) => ("no TLS", give_tls),
        (false, false) => (
            "neither an API key nor TLS",
            "make a key with `agentkernel key create NAME` and give --tls-cert and --tls-key",
        ),
    };
    Err(ListenError::Exposed { address, missing, fix })
}

/// The addresses that a host name of the command line means. Only `localhost` is looked up, in our own head: a name
/// server must not decide where this listens.
pub fn addresses(host: &str) -> Result<Vec<IpAddr>, ListenError> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok(vec![address]),
        Err(_) => Err(ListenError::Host { host: host.to_owned() }),
    }
}

/// Opens one port on all `addresses`. A second address that this machine hasn't got is left out: `localhost` without
/// IPv6. A port that is taken is tried again for a second. Must be called in a runtime.
pub async fn bind_tcp(addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, ListenError> {
    let mut open: Vec<TcpListener> = Vec::new();
    for address in addresses {
        let port = open.first().and_then(|first| first.local_addr().ok()).map_or(port, |first| first.port());
        let address = SocketAddr::new(*address, port);
        match bind_patiently(address).await {
            Ok(listener) => open.push(listener),
            Err(error) if !open.is_empty() && error.kind() == io::ErrorKind::AddrNotAvailable => {
                tracing::debug!(%address, %error, "left out");
            }
            Err(source) => return Err(ListenError::Bind { address, source }),
        }
    }
    Ok(open)
}

async fn bind_patiently(address: SocketAddr) -> io::Result<TcpListener> {
    let deadline = Instant::now() + PORT_PATIENCE;
    loop {
        match bind_one(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                // sleep: the kernel tells nobody that a port is free
                tokio::time::sleep(PORT_PAUSE).await;
            }
            done => return done,
        }
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    // Connections of a server that just ended must not keep the next one from starting; ones that live still do.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The daemon's socket, removed when it is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Only our own: another daemon may have put its socket there since.
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the socket stays; the next daemon replaces it");
        }
    }
}

/// Opens the unix socket at `path`, mode 0600, in a folder that only its owner enters. What lies there already is replaced
/// in one step: the caller holds the lock that says that no other daemon lives. Must be called in a runtime.
pub fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), ListenError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let fail = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ListenError::Socket { action, path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail("make the folder", folder))?;
    let metadata = std::fs::metadata(folder).map_err(fail("look at", folder))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(ListenError::OpenFolder { path: folder.to_owned() });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = format!("{name}.new");
    // By way of the folder's descriptor: a socket's path has at most 107 bytes (unix(7)).
    let at = OwnedFd::from(std::fs::File::open(folder).map_err(fail("open", folder))?);
    let short = Path::new("/proc/self/fd").join(at.as_raw_fd().to_string()).join(&fresh);
    let fresh = folder.join(fresh);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail("remove", &fresh)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&short).map_err(fail("listen on", path))?;
    let placed = std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o600))
        .and_then(|()| std::fs::symlink_metadata(&fresh))
        // It is seen only once it can be connected to.
        .and_then(|metadata| std::fs::rename(&fresh, path).map(|()| metadata.ino()));
    match placed {
        Ok(inode) => Ok((listener, SocketFile { path: path.to_owned(), inode })),
        Err(error) => {
            // The error is what matters; the next start removes the file.
            std::fs::remove_file(&fresh).ok();
            Err(fail("make", path)(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_nothing_opens_without_key_and_encryption() {
        let bare = Protection::default();
        let key = Protection { key: true, ..bare };
        let tls = Protection { tls: true, ..bare };
        let both = Protection { key: true, tls: true, ..bare };
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            check_exposure(local.parse().unwrap(), bare).unwrap();
        }
        for wide in ["0.0.0.0", "::", "10.0.0.1", "2001:db8::1", "169.254.1.1"] {
            let address = wide.parse().unwrap();
            let missing = |protection| match check_exposure(address, protection) {
                Err(ListenError::Exposed { missing, .. }) => missing,
                other => panic!("{wide}: {other:?}"),
            };
            assert_eq!(missing(bare), "neither an API key nor TLS");
            assert_eq!(missing(key), "no TLS");
            assert_eq!(missing(tls), "no API key");
            assert_eq!(missing(Protection { tls_waived: true, ..bare }), "no API key");
            check_exposure(address, both).unwrap();
            check_exposure(address, Protection { tls_waived: true, ..key }).unwrap();
            check_exposure(address, Protection { key_waived: true, tls_waived: true, ..bare }).unwrap();
        }
    }

    #[test]
    fn hosts_are_addresses_and_localhost() {
        assert_eq!(addresses("localhost").unwrap().len(), 2);
        assert_eq!(addresses("[::1]").unwrap(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        for host in ["", "example.com", "1.2.3", "0x7f.1"] {
            assert!(addresses(host).is_err(), "{host}");
        }
    }

    #[tokio::test]
    async fn a_port_that_becomes_free_is_waited_for() {
        let local = [Ipv4Addr::LOCALHOST.into()];
        let first = bind_tcp(&local, 0).await.unwrap();
        let port = first[0].local_addr().unwrap().port();
        let goes = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(first);
        };
        let (next, ()) = tokio::join!(bind_tcp(&local, port), goes);
        assert_eq!(next.unwrap()[0].local_addr().unwrap().port(), port);
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_of_zero_is_the_same_on_both_addresses() {
        let open = bind_tcp(&addresses("localhost").unwrap(), 0).await.unwrap();
        let ports: Vec<u16> = open.iter().map(|open| open.local_addr().unwrap().port()).collect();
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]));
        let taken = bind_tcp(&[Ipv4Addr::LOCALHOST.into()], ports[0]).await.unwrap_err().to_string();
        assert!(taken.starts_with("could not listen on 127.0.0.1:"), "{taken}");
    }

    #[tokio::test]
    async fn the_socket_is_private_replaces_a_stale_one_and_goes_with_its_server() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x".repeat(120)).join("daemon");
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let path = folder.join("agentkernel.sock");
        let (first, stale) = bind_unix(&path).unwrap();
        drop(first);
        let (_listener, file) = bind_unix(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder)), (0o600, 0o700));
        drop(stale);
        assert!(path.exists(), "another's socket is left alone");
        drop(file);
        assert!(!path.exists());
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(matches!(bind_unix(&path), Err(ListenError::OpenFolder { .. })));
    }
}
