//! `internal-share`: serves one folder of the host to one machine, in a jail. Started by whoever starts a machine with mounts,
//! with its jail around it already; ends with the machine.

use super::Json;
use crate::application::Application;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(_: Args, _: &Application) -> Result<u8, CliError> {
    // Nobody else waits in this process.
    agentkernel_backends::share_main()
        .map_err(|source| CliError::io("serve a folder to a machine", source))?;
    Ok(0)
}
