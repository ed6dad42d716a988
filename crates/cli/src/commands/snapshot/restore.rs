//! `snapshot restore`.

use agentkernel_config::Overrides;
use agentkernel_model::{SandboxName, SnapshotName};

use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, print_json, print_text, warn_line};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel snapshot restore installed
  agentkernel snapshot restore installed --as again

Makes a new sandbox, which runs: its processes go on where they were, with a host name, addresses,
randomness and clock of its own. It is called as the snapshot, unless it is named with --as. Published
ports are not taken over, since two sandboxes can't have one. The sandbox that the snapshot was taken of
need not be there. --json prints what `create --json` prints.")]
pub(crate) struct Args {
    /// Name of the snapshot
    #[arg(value_name = "SNAPSHOT")]
    snapshot: SnapshotName,
    /// Name of the new sandbox
    #[arg(long = "as", value_name = "NAME")]
    sandbox: Option<SandboxName>,
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
    let snapshot = engine.snapshot(&arguments.snapshot)?;
    let made = engine.restore_snapshot(&arguments.snapshot, arguments.sandbox.as_ref()).await?;
    if arguments.json {
        print_json(&made)?;
    } else {
        print_text(&format!("{}\n", made.name))?;
    }
    if !snapshot.ports.is_empty() {
        let ports = snapshot.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        warn_line(&format!("agentkernel: published ports are not taken over: {ports}"));
    }
    Ok(0)
}
