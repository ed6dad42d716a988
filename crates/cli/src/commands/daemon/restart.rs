//! `daemon restart`.

use std::path::PathBuf;
use std::time::Duration;

use super::{start, stop};
use crate::application::Application;
use crate::arguments::parse_duration;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel daemon restart

Where none runs, one is started.")]
pub(crate) struct Args {
    /// Configuration file of the new one [default: none; $AGENTKERNEL_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long commands may go on when the new one is told to end [default: 30s; config: api.drain_seconds]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    drain_timeout: Option<Duration>,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    stop::stop(&application.state_dir()?, None).await?;
    let fresh = start::Args {
        config: arguments.config,
        drain_timeout: arguments.drain_timeout,
        ..start::Args::default()
    };
    start::run(fresh, application).await
}
