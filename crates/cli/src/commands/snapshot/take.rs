//! `snapshot take`.

use agentkernel_config::Overrides;
use agentkernel_model::{SandboxName, SnapshotName};

use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, print_json, print_text, warn_line};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel snapshot take work
  agentkernel snapshot take work --name installed

The sandbox stands still while its memory is written, and goes on; one that is paused stays so. Commands
that begin meanwhile wait. Prints the snapshot's name: NAME-1, NAME-2, ... where none is given. What all
snapshots may take is snapshots.max_size of the configuration. --json prints what `snapshot list --json`
prints of one.")]
pub(crate) struct Args {
    /// Name of the sandbox
    #[arg(value_name = "NAME")]
    sandbox: SandboxName,
    /// Name of the snapshot
    #[arg(short, long, value_name = "SNAPSHOT")]
    name: Option<SnapshotName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let settings = application.settings(None, Overrides::default())?;
    let engine = application.engine_with(&settings).await?;
    let taken = engine.take_snapshot(&arguments.sandbox, arguments.name.as_ref()).await?;
    if arguments.json {
        print_json(&taken)?;
        return Ok(0);
    }
    print_text(&format!("{}\n", taken.name))?;
    if application.hints() {
        warn_line(&format!(
            "agentkernel: make a sandbox from it with: agentkernel snapshot restore {} --as NAME",
            taken.name
        ));
    }
    Ok(0)
}
