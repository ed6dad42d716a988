//! `remove`.

use agentkernel_model::SandboxName;

use super::Json;
use super::several::each;
use crate::application::Application;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel remove work
  agentkernel rm --force work web

All files in the sandbox are lost; folders of the host that it showed are not touched.")]
pub(crate) struct Args {
    /// Names of sandboxes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<SandboxName>,
    /// Remove running ones too; their commands are killed
    #[arg(short, long)]
    force: bool,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let engine = application.engine().await?;
    each(&arguments.names, async |name| engine.remove(name, arguments.force).await).await
}
