//! `stop`.

use std::time::Duration;

use agentkernel_model::SandboxName;

use super::Json;
use super::several::each;
use crate::application::Application;
use crate::arguments::parse_duration;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel stop work
  agentkernel stop --grace 1m work web

Files and the logs of detached commands stay, the commands end. Stopping one that is stopped is fine.")]
pub(crate) struct Args {
    /// Names of sandboxes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<SandboxName>,
    /// Time between SIGTERM and SIGKILL to its commands
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    grace: Duration,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let engine = application.engine().await?;
    each(&arguments.names, async |name| engine.stop(name, arguments.grace).await).await
}
