//! `completions`.

use clap_complete::Shell;

use super::Json;
use crate::application::Application;
use crate::arguments::shown_tree;
use crate::output::{CliError, print_text};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel completions bash > ~/.local/share/bash-completion/completions/agentkernel
  agentkernel completions zsh > ~/.zfunc/_agentkernel
  agentkernel completions fish > ~/.config/fish/completions/agentkernel.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, _: &Application) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut shown_tree(), "agentkernel", &mut script);
    print_text(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
