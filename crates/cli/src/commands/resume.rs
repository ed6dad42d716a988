//! `resume`.

use agentkernel_model::SandboxName;

use super::Json;
use super::several::each;
use crate::application::Application;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel resume work
  agentkernel resume work web

What stood still goes on, with its clock set. Resuming one that runs is fine.")]
pub(crate) struct Args {
    /// Names of sandboxes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<SandboxName>,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let engine = application.engine().await?;
    each(&arguments.names, async |name| engine.resume(name).await.map(drop)).await
}
