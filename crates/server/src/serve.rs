//! Accepting and serving connections until the server is told to end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::connection::{Peer, Phase, RequestService, Slot, Slots, WatchedStream};
use crate::guard::Door;
use crate::{ConnectionLimits, Listener, LocalPeers, UnixSocket};

/// The kernel's word on how long a peer that has vanished goes unnoticed: first after a minute, then six times every ten
/// seconds.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 6);

/// How far the end has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Closing {
    /// Not at all.
    #[default]
    Open,
    /// No new connections; those that are there end with the request that they serve.
    Draining,
    /// At once.
    Now,
}

/// Serves `router` at all `listeners` until `closing` says otherwise and the last connection has ended. A request carries
/// its [`Door`] in its extensions.
pub async fn serve(
    listeners: Vec<Listener>,
    router: Router,
    limits: ConnectionLimits,
    local: LocalPeers,
    mut closing: watch::Receiver<Closing>,
) {
    let slots = Slots::new(limits.connections, limits.connections_per_peer);
    let server = Arc::new(Server { router, limits, slots: slots.clone(), local, closing: closing.clone() });
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(Arc::clone(&server), listener));
    }
    wait_for(&mut closing, Closing::Draining).await;
    // The doors close now: who comes later is refused by the kernel, not kept waiting.
    accepting.shutdown().await;
    drop(server);
    tokio::select! {
        () = slots.empty() => {}
        () = wait_for(&mut closing, Closing::Now) => {
            tracing::warn!(connections = slots.count(), "ended with connections that were still in use");
        }
    }
}

/// Waits until the end has come at least so far; for ever where nobody can say so any more.
async fn wait_for(closing: &mut watch::Receiver<Closing>, wanted: Closing) {
    let gone = closing.wait_for(|closing| *closing == wanted || *closing == Closing::Now).await.is_err();
    if gone {
        std::future::pending::<()>().await;
    }
}

struct Server {
    router: Router,
    limits: ConnectionLimits,
    slots: Slots,
    local: LocalPeers,
    closing: watch::Receiver<Closing>,
}

async fn accept(server: Arc<Server>, listener: Listener) {
    match listener {
        Listener::Tcp { listener, tls } => loop {
            match listener.accept().await {
                Ok((stream, peer)) => server.welcome_tcp(stream, peer, &listener, tls.as_ref()),
                Err(error) => out_of_room(&error).await,
            }
        },
        Listener::Unix { listener, file } => {
            let _file = file;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => server.welcome_unix(stream),
                    Err(error) => out_of_room(&error).await,
                }
            }
        }
    }
}

/// The process has no descriptors left, or the client went before it was let in.
async fn out_of_room(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    let client_left = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    );
    if !client_left {
        // sleep: a descriptor becomes free when another connection ends, which nothing tells us
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Server {
    fn welcome_tcp(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        listener: &TcpListener,
        tls: Option<&TlsAcceptor>,
    ) {
        let local = stream.local_addr().or_else(|_| listener.local_addr()).unwrap_or(peer);
        let mut door = Door::Tcp { peer, local, tls: tls.is_some(), uid: None };
        let Some(slot) = self.slots.take(Peer::from(&door)) else {
            if tls.is_none() {
                refuse(stream.into_std());
            }
            return;
        };
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, %peer, "the connection has ended already");
            return;
        }
        let server = Arc::clone(self);
        let tls = tls.cloned();
        tokio::spawn(async move {
            if let Door::Tcp { uid, .. } = &mut door {
                *uid = server.local.owner(peer, local);
            }
            let Some(tls) = tls else { return server.converse(stream, door, slot, None).await };
            match tokio::time::timeout(server.limits.handshake_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => server.converse(stream, door, slot, None).await,
                Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS"),
                Err(_) => tracing::debug!(%peer, "the handshake of TLS took too long"),
            }
        });
    }

    fn welcome_unix(self: &Arc<Self>, stream: UnixStream) {
        let uid = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => return tracing::warn!(%error, "a connection without a user"),
        };
        let door = Door::Unix { uid };
        let Some(slot) = self.slots.take(Peer::from(&door)) else {
            return refuse(stream.into_std());
        };
        let socket = match stream.as_fd().try_clone_to_owned() {
            Ok(socket) => UnixSocket(Arc::new(socket)),
            Err(error) => return tracing::warn!(%error, "a connection could not be accepted"),
        };
        let server = Arc::clone(self);
        tokio::spawn(async move { server.converse(stream, door, slot, Some(socket)).await });
    }

    /// Serves one connection to its end.
    async fn converse<S>(&self, stream: S, door: Door, slot: Slot, socket: Option<UnixSocket>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let phase = Arc::new(Phase::default());
        let stream = WatchedStream::new(stream, Arc::clone(&phase), &self.limits, slot);
        let service = RequestService {
            router: self.router.clone(),
            door,
            phase,
            body_timeout: self.limits.body_timeout,
            socket,
        };
        let connection = http1::Builder::new()
            // Our own clocks tell idle connections from slow heads.
            .header_read_timeout(None)
            .max_header_size(self.limits.head_bytes)
            .max_headers(self.limits.headers)
            // A client that closes its half has gone, as far as anybody can tell: its command is to end.
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let mut closing = self.closing.clone();
        let mut asked_to_end = false;
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                () = wait_for(&mut closing, Closing::Draining), if !asked_to_end => {
                    asked_to_end = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, %door, "a connection ended early");
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    let (idle, interval, probes) = KEEPALIVE;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_keepintvl(stream, interval)?;
    sockopt::set_tcp_keepcnt(stream, probes)?;
    Ok(())
}

/// Tells a client for whom there is no room to come again. Best effort: it must cost nothing.
fn refuse<S: io::Write>(stream: io::Result<S>) {
    const BODY: &str =
        r#"{"success":false,"error":"too many connections: close some, or come again later","code":"busy"}"#;
    tracing::warn!("a connection was refused: there are too many");
    let written = stream.and_then(|mut stream| {
        write!(
            stream,
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             retry-after: 1\r\nconnection: close\r\n\r\n{BODY}",
            BODY.len()
        )
    });
    if let Err(error) = written {
        tracing::debug!(%error, "and could not be told");
    }
}
