//! The agent's program as a plain relay: an engine starts it in the box, and it moves bytes between its standard streams
//! and the agent's socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::door::Watch;
use super::standard;
use crate::capability;
use crate::options::StartError;

/// How long the agent may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until either side has closed.
pub(crate) fn run(socket: &Path) -> Result<(), StartError> {
    let step = StartError::step("relay");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(&step)?;
    let result = runtime.block_on(async {
        let mut agent = connect(socket).await?;
        // A trusted program, but it needs nothing.
        capability::drop_held(0)?;
        let mut host = standard::streams()?;
        let (from_host, from_agent) = (&mut host, &mut agent);
        let (mut host_reader, mut host_writer) = tokio::io::split(from_host);
        let (mut agent_reader, mut agent_writer) = from_agent.split();
        let inward = async {
            tokio::io::copy(&mut host_reader, &mut agent_writer).await?;
            agent_writer.shutdown().await
        };
        let outward = tokio::io::copy(&mut agent_reader, &mut host_writer);
        // Without the agent there is nothing to wait for; without the host the agent ends the connection itself.
        let (mut inward, mut outward) = (std::pin::pin!(inward), std::pin::pin!(outward));
        tokio::select! {
            result = &mut outward => result.map(drop),
            result = &mut inward => {
                result?;
                outward.await.map(drop)
            }
        }
    });
    result.map_err(step)
}

/// The agent may not have come so far yet.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let watch = loop {
        match Watch::open(folder) {
            Ok(watch) => break watch,
            // Its folder isn't there yet either: the one above tells.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let above = Watch::open(folder.parent().unwrap_or(Path::new("/")))?;
                if !folder.exists() {
                    timeout_at(deadline, above.appeared()).await??;
                }
            }
            Err(error) => return Err(error),
        }
    };
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                timeout_at(deadline, watch.appeared()).await??;
            }
            Err(error) => return Err(error),
        }
    }
}
