//! `internal-forward`: the background process that keeps a sandbox's published ports open. Started by `start`, which
//! hands the listening sockets over on standard input; ended with the sandbox.

use agentkernel_engine::forwarder;
use agentkernel_model::SandboxName;

use super::Json;
use crate::application::Application;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the sandbox
    name: SandboxName,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let listeners = forwarder::receive_listeners().map_err(|source| {
        CliError::io("receive the listening sockets from the process that started this", source)
    })?;
    if let Some(listeners) = listeners {
        // No recovery here: whoever started this holds the sandbox's lock and isn't dead.
        let engine = application.engine_without_recovery(&application.state_dir()?)?;
        forwarder::serve(&engine, &arguments.name, listeners).await?;
    }
    Ok(0)
}
