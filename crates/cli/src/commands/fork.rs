//! `fork`.

use agentkernel_config::Overrides;
use agentkernel_engine::MAX_FORKS;
use agentkernel_model::SandboxName;

use super::Json;
use crate::application::Application;
use crate::output::{CliError, print_json, print_text, warn_line};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel fork work
  agentkernel fork work --count 3
  agentkernel fork work --as experiment
  agentkernel fork work --count 2 --json

Each child has the memory, processes and files of the sandbox at this moment, and a host name, addresses
and randomness of its own; the sandbox goes on. Children are called NAME-1, NAME-2, ... with the first
numbers that are free, and are printed in that order. All of them are made, or none. Published ports
stay with the sandbox. Only backend firecracker can do it. --json prints an array of what `create --json`
prints.")]
pub(crate) struct Args {
    /// Name of the sandbox
    #[arg(value_name = "NAME")]
    name: SandboxName,
    /// How many children
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FORKS)))]
    count: u32,
    /// Name of the child; with --count the beginning of the children's names
    #[arg(long = "as", value_name = "NAME")]
    child: Option<SandboxName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let settings = application.settings(None, Overrides::default())?;
    let engine = application.engine_with(&settings).await?;
    let children = engine.fork(&arguments.name, arguments.count, arguments.child.as_ref()).await?;
    if arguments.json {
        print_json(&children)?;
    } else {
        print_text(&children.iter().map(|child| format!("{}\n", child.name)).collect::<String>())?;
    }
    let publishes = engine.info(&arguments.name).await.is_ok_and(|source| !source.spec.ports.is_empty());
    if publishes {
        warn_line(&format!(
            "agentkernel: published ports stay with {}; its children have none",
            arguments.name
        ));
    }
    Ok(0)
}
