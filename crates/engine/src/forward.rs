//! Carrying TCP connections from ports of the host to ports inside a box.

use std::io;
use std::sync::Arc;

use agentkernel_backend::{BackendError, Guest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::listen::Listening;
use crate::{Engine, EngineError};

/// Connections carried at once for one box; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;

/// Connections are carried while this lives.
pub(crate) struct Forwarding {
    _listening: JoinSet<()>,
    broken: mpsc::Receiver<BackendError>,
}

/// A listener of the runtime's, and the port inside that it leads to.
pub(crate) type Inlet = (Arc<TcpListener>, u16);

impl Engine {
    /// Carries every connection that `listeners` accept to the port inside that stands beside each. Returns only when
    /// the box is lost or a listener fails; drop the future to end it. A port that nobody listens on inside closes the
    /// client's connection.
    pub async fn forward_ports(
        &self,
        guest: Arc<dyn Guest>,
        listeners: Vec<(std::net::TcpListener, u16)>,
    ) -> Result<(), EngineError> {
        let mut forwarding = Forwarding::over(guest, inlets(listeners)?);
        match forwarding.broken().await {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

/// Gives listeners to the runtime.
pub(crate) fn inlets(listeners: Vec<(std::net::TcpListener, u16)>) -> Result<Vec<Inlet>, BackendError> {
    listeners
        .into_iter()
        .map(|(listener, inside)| {
            listener.set_nonblocking(true)?;
            Ok((Arc::new(TcpListener::from_std(listener)?), inside))
        })
        .collect::<io::Result<_>>()
        .map_err(|error| BackendError::runtime("listen for published ports", error))
}

impl Forwarding {
    pub(crate) fn start(guest: Arc<dyn Guest>, listening: Vec<Listening>) -> Result<Self, EngineError> {
        Ok(Self::over(guest, inlets(listening.into_iter().map(Listening::into_pair).collect())?))
    }

    pub(crate) fn over(guest: Arc<dyn Guest>, inlets: Vec<Inlet>) -> Self {
        let (report, broken) = mpsc::channel(1);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut listening = JoinSet::new();
        for (listener, inside) in inlets {
            listening.spawn(accept(listener, inside, guest.clone(), slots.clone(), report.clone()));
        }
        Self { _listening: listening, broken }
    }

    /// Waits until the box is lost or a listener fails. `None` where there was nothing to listen on.
    pub(crate) async fn broken(&mut self) -> Option<BackendError> {
        self.broken.recv().await
    }
}

async fn accept(
    listener: Arc<TcpListener>,
    inside: u16,
    guest: Arc<dyn Guest>,
    slots: Arc<Semaphore>,
    report: mpsc::Sender<BackendError>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            // Most often "too many open files": one connection less makes room.
            Err(error) => {
                if connections.join_next().await.is_some() {
                    continue;
                }
                send(&report, BackendError::runtime("accept a connection", error)).await;
                return;
            }
        };
        let (guest, report) = (guest.clone(), report.clone());
        connections.spawn(async move {
            if let Err(error) = carry(client, inside, &*guest).await {
                send(&report, error).await;
            }
            drop(slot);
        });
    }
}

/// The receiver may be gone: then the news is old.
async fn send(report: &mpsc::Sender<BackendError>, error: BackendError) {
    if let Err(unsent) = report.send(error).await {
        tracing::debug!(error = %unsent.0, "forwarding ended already");
    }
}

/// One connection, both ways, each ended by itself. An error means that the box is lost.
async fn carry(mut client: TcpStream, inside: u16, guest: &dyn Guest) -> Result<(), BackendError> {
    let mut stream = match guest.connect_port(inside).await {
        Ok(stream) => stream,
        Err(error @ (BackendError::BoxEnded { .. } | BackendError::HostileGuest { .. })) => {
            return Err(error);
        }
        Err(error) => {
            tracing::debug!(%error, inside, "a published port could not be reached inside");
            return Ok(());
        }
    };
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut stream).await {
        tracing::debug!(%error, inside, "a forwarded connection broke");
    }
    Ok(())
}
