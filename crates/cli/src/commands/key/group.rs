//! The verbs of the group.

use super::{create, list, remove};
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
  agentkernel key create ci --scope run --concurrent 8 --per-minute 600
  agentkernel key list
  agentkernel key remove ci

Servers of this state directory know a new key at once, and forget a removed one at once. A client
sends it as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// One of them.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key, and print it: it can't be shown again
    Create(create::Args),
    /// List keys
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Take keys back
    #[command(visible_alias = "rm")]
    Remove(remove::Args),
}

impl Json for Args {
    fn json(&self) -> bool {
        match &self.verb {
            Verb::Create(arguments) => arguments.json,
            Verb::List(arguments) => arguments.json,
            Verb::Remove(_) => false,
        }
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    match arguments.verb {
        Verb::Create(arguments) => create::run(arguments, application),
        Verb::List(arguments) => list::run(&arguments, application),
        Verb::Remove(arguments) => remove::run(&arguments, application),
    }
}
