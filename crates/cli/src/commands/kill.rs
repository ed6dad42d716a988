//! `kill`.

use agentkernel_model::{ExecId, SandboxName, Signal};

use super::Json;
use super::missing_command::{Wish, explain};
use crate::application::Application;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel kill work a1b2c3
  agentkernel kill -s KILL work a1b2c3

Ids are shown by agentkernel ps NAME. KILL goes to the command's whole process tree.")]
pub(crate) struct Args {
    /// Name of the sandbox
    name: SandboxName,
    /// Id of the command
    id: ExecId,
    /// Signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "TERM")]
    signal: Signal,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let (_, guest) = application.engine_of(&arguments.name).await?.guest(&arguments.name).await?;
    let (name, id) = (&arguments.name, &arguments.id);
    match guest.kill(id, arguments.signal).await {
        Ok(()) => Ok(0),
        Err(error) => Err(explain(error, Wish::Signal, guest.as_ref(), (name, id)).await),
    }
}
