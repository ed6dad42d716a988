//! `snapshot list`.

use agentkernel_engine::SnapshotView;

use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, Style, Table, age_of, describe, print_json, print_text, warn_line};
use crate::progress::bytes;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel snapshot list
  agentkernel snapshot ls --quiet
  agentkernel snapshot list --json

SIZE is what it takes on disk. --json prints an array of {name, source, source_id, backend, image, ports,
created_at, bytes}.")]
pub(crate) struct Args {
    /// Print only names
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
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
    let engine = application.engine_without_recovery(&application.state_dir()?)?;
    let snapshots = engine.snapshots()?;
    for (name, error) in engine.unreadable_snapshots()? {
        warn_line(&format!("agentkernel: warning: snapshot {name}: {}", describe(&error)));
    }
    if arguments.json {
        print_json(&snapshots)?;
    } else if arguments.quiet {
        print_text(&snapshots.iter().map(|one| format!("{}\n", one.name)).collect::<String>())?;
    } else if snapshots.is_empty() {
        warn_line("No snapshots. Take one with: agentkernel snapshot take NAME");
    } else {
        print_text(&table(&snapshots).render(Style::of(&application.environment)))?;
    }
    Ok(0)
}

fn table(snapshots: &[SnapshotView]) -> Table {
    let mut table = Table::new(["NAME", "SOURCE", "BACKEND", "IMAGE", "SIZE", "AGE"]);
    for one in snapshots {
        table.row([
            (one.name.to_string(), None),
            (one.source.to_string(), None),
            (one.backend.to_string(), None),
            (one.image.to_string(), None),
            (bytes(one.bytes), None),
            (age_of(&one.created_at), None),
        ]);
    }
    table
}
