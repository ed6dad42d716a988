//! Opening published ports on the host, before the sandbox is touched: "address in use" is then a clean failure.

use std::net::{SocketAddr, TcpListener};

use agentkernel_model::PublishedPort;

use crate::EngineError;

/// One open port of the host.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listener: TcpListener,
    /// Where it really listens: port 0 is resolved.
    pub(crate) port: PublishedPort,
}

impl Listening {
    /// The listener, and the port inside that it leads to.
    pub(crate) fn into_pair(self) -> (TcpListener, u16) {
        (self.listener, self.port.inside)
    }
}

/// Opens all of them, or none.
pub(crate) fn bind(ports: &[PublishedPort]) -> Result<Vec<Listening>, EngineError> {
    ports.iter().map(bind_one).collect()
}

fn bind_one(port: &PublishedPort) -> Result<Listening, EngineError> {
    let fail = |source| EngineError::Listen { port: *port, source };
    let listener = TcpListener::bind(SocketAddr::new(port.address, port.host)).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    let host = listener.local_addr().map_err(fail)?.port();
    Ok(Listening { listener, port: PublishedPort { host, ..*port } })
}
