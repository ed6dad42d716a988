//! `man`.

use super::Json;
use crate::application::Application;
use crate::arguments::shown_tree;
use crate::output::{CliError, print_text};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel man | man -l -
  agentkernel man run | man -l -
  agentkernel man image pull | man -l -")]
pub(crate) struct Args {
    /// The verb; without it the overview
    #[arg(value_name = "VERB", num_args = 0..=2)]
    verb: Vec<String>,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, _: &Application) -> Result<u8, CliError> {
    let tree = shown_tree();
    let mut command = &tree;
    for verb in &arguments.verb {
        command = command.find_subcommand(verb).ok_or_else(|| {
            CliError::usage(format!("there is no verb {verb:?}; agentkernel --help lists them"))
        })?;
    }
    print_text(&String::from_utf8_lossy(&page(command)?))?;
    Ok(0)
}

/// The page of one command in roff.
pub(super) fn page(command: &clap::Command) -> Result<Vec<u8>, CliError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .map_err(|source| CliError::io("make the manual page", source))?;
    Ok(page)
}
