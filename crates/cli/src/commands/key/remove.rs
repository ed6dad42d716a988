//! `key remove`.

use agentkernel_server::KeyFile;

use super::record::KeyLog;
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
    let log = KeyLog::open(application)?;
    let keys = KeyFile::of(&application.state_dir()?);
    for name in &arguments.names {
        let removed = keys.remove(name);
        // Whatever becomes of the log, a key that was taken back is.
        let noted = log.note("key_removed", name, None, &removed);
        removed?;
        noted?;
        print_text(&format!("{name}\n"))?;
    }
    Ok(0)
}
