//! The forwarder's life: as long as its sandbox runs.

use std::net::TcpListener;
use std::time::Duration;

use agentkernel_backend::BackendError;
use agentkernel_model::{Phase, SandboxName};
use tokio::task::JoinSet;

use crate::forward::{Forwarding, Inlet, inlets};
use crate::{Engine, EngineError};

/// How often the machine is asked whether the sandbox still runs. The verbs end the forwarder at once; this is for a box
/// that dies by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Carries connections into `name` until it no longer runs, or runs as another sandbox of that name.
pub async fn serve(
    engine: &Engine,
    name: &SandboxName,
    listeners: Vec<(TcpListener, u16)>,
) -> Result<(), EngineError> {
    let inlets = inlets(listeners)?;
    let id = engine.info(name).await?.id;
    let mut ends = JoinSet::new();
    ends.spawn(until_it_ends(engine.clone(), name.clone(), id));
    ends.spawn(carry_on(engine.clone(), name.clone(), inlets));
    // The first end is the end of both: the set ends the other when it is dropped.
    match ends.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(source)) => Err(EngineError::Worker { source }),
        None => Ok(()),
    }
}

/// Whether a sandbox in this phase runs, or will go on.
fn is_up(phase: Phase) -> bool {
    matches!(phase, Phase::Running | Phase::Pausing | Phase::Paused)
}

async fn until_it_ends(engine: Engine, name: SandboxName, id: String) -> Result<(), EngineError> {
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    loop {
        ticks.tick().await;
        match engine.info(&name).await {
            Ok(view) if view.id == id && is_up(view.phase) => {}
            // Gone, stopped, or another by that name.
            Ok(_) | Err(_) => return Ok(()),
        }
    }
}

/// Connects anew where the connection into the box, and not the box, is lost.
async fn carry_on(engine: Engine, name: SandboxName, inlets: Vec<Inlet>) -> Result<(), EngineError> {
    loop {
        let guest = match engine.guest(&name).await {
            Ok((_, guest)) => guest,
            Err(EngineError::NotRunning { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        match Forwarding::over(guest, inlets.clone()).broken().await {
            Some(error @ (BackendError::BoxEnded { .. } | BackendError::HostileGuest { .. })) => {
                tracing::debug!(%error, "forwarding starts anew");
            }
            Some(error) => return Err(error.into()),
            None => return Ok(()),
        }
    }
}
