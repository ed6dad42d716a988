//! `key remove`.

use agentkernel_server::KeyFile;

use crate::application::Application;
use crate::output::{CliError, print_text};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel key remove ci

What its holder has begun goes on; the next request is refused.")]
pub(crate) struct Args {
    /// Names of keys
    #[arg(required = true)]
    names: Vec<String>,
}

/// Runs it.
pub(super) fn run(arguments: &Args, application: &Application) -> Result<u8, CliError> {
    let keys = KeyFile::of(&application.state_dir()?);
    for name in &arguments.names {
        keys.remove(name)?;
        print_text(&format!("{name}\n"))?;
    }
    Ok(0)
}
