//! `snapshot remove`.

use agentkernel_model::SnapshotName;

use crate::application::Application;
use crate::commands::Json;
use crate::commands::several::each;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel snapshot remove installed
  agentkernel snapshot rm one two

Sandboxes that were restored from them stay.")]
pub(crate) struct Args {
    /// Names of snapshots
    #[arg(required = true, value_name = "SNAPSHOT")]
    snapshots: Vec<SnapshotName>,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let engine = application.engine_without_recovery(&application.state_dir()?)?;
    each(&arguments.snapshots, async |name| engine.remove_snapshot(name).await).await
}
