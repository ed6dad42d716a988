//! A stop that asks first.

use std::time::Duration;

use agentkernel_model::Signal;
use tokio::time::{Instant, timeout_at};

use crate::{BackendError, ExecutionState, Guest};

/// SIGTERM to every command, and time to end. What goes wrong here is no error: the box is ended anyway.
pub async fn ask_to_end(guest: &dyn Guest, grace: Duration) {
    let deadline = Instant::now() + grace;
    let asked = timeout_at(deadline, async {
        let executions = guest.executions().await?;
        let running = executions.iter().filter(|execution| execution.state == ExecutionState::Running);
        for execution in running.clone() {
            guest.kill(&execution.id, Signal::TERM).await?;
        }
        for execution in running {
            guest.wait(&execution.id).await?;
        }
        Ok::<(), BackendError>(())
    });
    match asked.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "commands could not be asked to end"),
        Err(_) => tracing::debug!("commands did not end in time"),
    }
}
