//! `pause`.

use agentkernel_model::SandboxName;

use super::Json;
use super::several::each;
use crate::application::Application;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel pause work
  agentkernel pause work web && agentkernel resume work web

What runs in a paused sandbox keeps its memory and gets no processor. It can't be used before it is
resumed; it can be copied, stopped and removed. Pausing one that is paused is fine. Only backend
firecracker can do it.")]
pub(crate) struct Args {
    /// Names of sandboxes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<SandboxName>,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let engine = application.engine().await?;
    each(&arguments.names, async |name| engine.pause(name).await.map(drop)).await
}
