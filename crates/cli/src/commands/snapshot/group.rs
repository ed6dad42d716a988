//! The verbs of the group.

use super::{list, remove, restore, take};
use crate::application::Application;
use crate::commands::Json;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  agentkernel snapshot take work --name installed
  agentkernel snapshot list
  agentkernel snapshot restore installed --as again
  agentkernel snapshot remove installed

A snapshot holds the memory, processes and files of a running sandbox. It holds its secrets too, and is
kept where only your user can read it. Only backend firecracker can make and restore them; one can be
restored with the same VMM, kernel and kind of processor only."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// One of them.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Keep a running sandbox as it is; it goes on
    Take(take::Args),
    /// List snapshots
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Make a sandbox that goes on where a snapshot was taken
    Restore(restore::Args),
    /// Remove snapshots
    #[command(visible_alias = "rm")]
    Remove(remove::Args),
}

impl Json for Args {
    fn json(&self) -> bool {
        match &self.verb {
            Verb::Take(arguments) => arguments.json(),
            Verb::List(arguments) => arguments.json(),
            Verb::Restore(arguments) => arguments.json(),
            Verb::Remove(arguments) => arguments.json(),
        }
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    match arguments.verb {
        Verb::Take(arguments) => take::run(arguments, application).await,
        Verb::List(arguments) => list::run(arguments, application).await,
        Verb::Restore(arguments) => restore::run(arguments, application).await,
        Verb::Remove(arguments) => remove::run(arguments, application).await,
    }
}
