//! The verbs of the group.

use super::{restart, start, status, stop};
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
  agentkernel daemon start
  agentkernel run uname          # now from a sandbox that was ready
  agentkernel daemon status
  agentkernel daemon stop

The daemon keeps sandboxes ready for `run`, and answers the HTTP API on a unix socket that only you
can reach. Nothing needs it: without one, every command does its work itself, with the same result."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// One of them.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Start the daemon
    Start(start::Args),
    /// Stop the daemon; sandboxes that were created go on
    Stop(stop::Args),
    /// Show whether the daemon runs, and what it does
    Status(status::Args),
    /// Stop the daemon and start it again
    Restart(restart::Args),
}

impl Json for Args {
    fn json(&self) -> bool {
        matches!(&self.verb, Verb::Status(arguments) if arguments.json)
    }

    fn serves(&self) -> bool {
        matches!(&self.verb, Verb::Start(arguments) if arguments.is_foreground())
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    match arguments.verb {
        Verb::Start(arguments) => start::run(arguments, application).await,
        Verb::Stop(arguments) => stop::run(&arguments, application).await,
        Verb::Status(arguments) => status::run(&arguments, application).await,
        Verb::Restart(arguments) => restart::run(arguments, application).await,
    }
}
