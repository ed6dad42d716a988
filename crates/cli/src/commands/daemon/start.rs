//! `daemon start`.

use std::path::PathBuf;
use std::time::Duration;

use agentkernel_config::{ApiFlags, Overrides};

use super::background::{self, Parent};
use crate::application::Application;
use crate::arguments::parse_duration;
use crate::output::{CliError, describe, print_text};
use crate::serving::{
    DaemonLock, compose, given_sockets, log_path, open_unix, rotate_now_and_then, serve_until_told,
};

/// The arguments.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel daemon start
  agentkernel daemon start --foreground --config /etc/agentkernel.toml

In the background it writes its log into daemon/daemon.log of the state directory. One that runs
already is left alone.")]
pub(crate) struct Args {
    /// Stay, and log to standard error: for systemd and the like
    #[arg(short, long)]
    pub(super) foreground: bool,
    /// Configuration file [default: none; $AGENTKERNEL_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// How long commands may go on when the daemon is told to end [default: 30s; config: api.drain_seconds]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) drain_timeout: Option<Duration>,
    /// Started by `daemon start`, which waits on standard input for how it goes
    #[arg(long, hide = true, requires = "foreground")]
    pub(super) detached: bool,
}

impl Args {
    pub(super) fn is_foreground(&self) -> bool {
        self.foreground
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    if !arguments.foreground {
        return background::start(&arguments, application).await;
    }
    if !arguments.detached {
        stay(arguments, application, || print_text("the daemon is ready\n")).await?;
        return Ok(0);
    }
    let parent = Parent::leave()?;
    let state_dir = application.state_dir()?;
    let log = tokio::spawn(rotate_now_and_then(log_path(&state_dir)));
    // Whoever waits for us learns how it went, this way or that.
    let told = std::cell::Cell::new(Some(parent));
    let ready = || told.take().map_or(Ok(()), Parent::ready);
    let result = stay(arguments, application, ready).await;
    if let (Err(error), Some(parent)) = (&result, told.take()) {
        parent.failed(error);
    }
    log.abort();
    if let Err(error) = &result {
        tracing::error!("{}", describe(error));
    }
    result.map(|()| 0)
}

async fn stay(
    arguments: Args,
    application: &Application,
    ready: impl FnOnce() -> Result<(), CliError>,
) -> Result<(), CliError> {
    let config = application.named_config(arguments.config);
    let flags = ApiFlags { drain_timeout: arguments.drain_timeout, ..ApiFlags::default() };
    let settings =
        application.server_settings(config.as_deref(), Overrides { api: flags, ..Overrides::default() })?;
    let state_dir = settings.state_dir.clone();
    let lock =
        DaemonLock::take(&state_dir).map_err(|source| CliError::io("take the daemon's lock", source))?;
    let _lock =
        lock.map_err(|holder| CliError::DaemonRuns { state_dir: state_dir.clone(), pid: holder.pid })?;
    let given = given_sockets(&application.environment, &settings)?;
    let doors = if given.is_empty() { vec![open_unix(&state_dir)?] } else { given };
    let composed = compose(application, &settings, config, false).await?;
    serve_until_told(application, composed, doors, ready).await
}
