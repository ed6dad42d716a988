//! Where the host comes in: a vsock port (vsock(7)), on which nobody but the host is met.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use agentkernel_protocol::machine::{AGENT_PORT, KNOCK, KNOCK_PORT};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::UnixStream;

use crate::pump;
use crate::raw::{HOST, VsockAddress};

/// Hosts that may wait to be met.
const WAITING: i32 = 64;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A listening socket.
pub(super) struct Listener {
    socket: AsyncFd<OwnedFd>,
    /// Whether peers have to be the machine's host.
    is_vsock: bool,
}

impl Listener {
    /// On the agent's vsock port.
    pub(super) fn open() -> io::Result<Self> {
        let socket = vsock()?;
        rustix::net::bind(&socket, &VsockAddress::of_anybody(AGENT_PORT))?;
        rustix::net::listen(&socket, WAITING)?;
        Ok(Self { socket: pump::watch(socket, Interest::READABLE)?, is_vsock: true })
    }

    /// A socket that listens already, of whatever kind.
    pub(super) fn given(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: pump::watch(socket, Interest::READABLE)?, is_vsock: false })
    }

    /// The next who comes.
    pub(super) async fn accept(&self) -> io::Result<HostStream> {
        loop {
            let mut ready = self.socket.readable().await?;
            match rustix::net::acceptfrom_with(self.socket.get_ref(), FLAGS) {
                Ok((stream, peer)) => {
                    let peer = peer.and_then(|peer| VsockAddress::of(&peer));
                    if !self.is_vsock || peer.is_some_and(|peer| peer.machine() == HOST) {
                        return stream_of(stream).map(HostStream);
                    }
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                // Out of descriptors, or a host that gave up, or a snapshot that was taken meanwhile: the next may do
                // better.
                // sleep: nothing tells when descriptors are free again, and accept would fail at once until then.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// The most bytes of one packet. Linux makes one that is longer of several pieces of memory (seen with 6.12.117), and vhost-device-vsock 0.3 loses those: it expects the bytes of a packet in one piece.
pub(super) const MAX_PACKET: usize = 28 * 1024;

/// A stream from the host.
pub(super) struct HostStream(UnixStream);

impl AsyncRead for HostStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for HostStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Each write is a packet.
        let bytes = bytes.get(..MAX_PACKET).unwrap_or(bytes);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Tells the host once that the agent listens. Where nobody hears it, the host comes when it likes.
pub(super) async fn knock() -> io::Result<()> {
    let socket = vsock()?;
    match rustix::net::connect(&socket, &VsockAddress::new(HOST, KNOCK_PORT)) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut stream = stream_of(socket)?;
    stream.writable().await?;
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.write_all(format!("{KNOCK}{}\n", env!("CARGO_PKG_VERSION")).as_bytes()).await?;
    stream.shutdown().await
}

/// A new socket, which doesn't wait.
pub(super) fn vsock() -> io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, FLAGS, None).map_err(|errno| {
        match errno {
            Errno::AFNOSUPPORT => io::Error::other("the machine's kernel lacks virtio vsock"),
            other => other.into(),
        }
    })
}

/// Stream sockets of vsock take the same calls as those of this machine do, so that the event loop's own type serves.
fn stream_of(socket: OwnedFd) -> io::Result<UnixStream> {
    UnixStream::from_std(std::os::unix::net::UnixStream::from(socket))
}
