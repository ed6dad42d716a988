//! The verbs of the group.

use super::{export, import, inspect, list, prune, pull, remove, usage};
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
  agentkernel image pull alpine:3.20
  agentkernel image import saved.tar --name my-tool:1
  agentkernel image list
  agentkernel run --image my-tool:1

These are the images of the native backend, kept for your user; containers of Docker and Podman
start from those engines' own (image pull --backend docker fetches one there)."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// One of them.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Fetch images from a registry
    Pull(pull::Args),
    /// List images
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show everything about images
    Inspect(inspect::Args),
    /// Take an image in from a file, standard input, Docker or Podman
    Import(import::Args),
    /// Write an image to a file or standard output
    Export(export::Args),
    /// Remove images, or names of images
    #[command(visible_alias = "rm")]
    Remove(remove::Args),
    /// Remove what no sandbox needs
    Prune(prune::Args),
    /// Show how much room images take
    Usage(usage::Args),
}

impl Json for Args {
    fn json(&self) -> bool {
        match &self.verb {
            Verb::Pull(arguments) => arguments.json(),
            Verb::List(arguments) => arguments.json(),
            Verb::Inspect(arguments) => arguments.json(),
            Verb::Import(arguments) => arguments.json(),
            Verb::Export(arguments) => arguments.json(),
            Verb::Remove(arguments) => arguments.json(),
            Verb::Prune(arguments) => arguments.json(),
            Verb::Usage(arguments) => arguments.json(),
        }
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    match arguments.verb {
        Verb::Pull(arguments) => pull::run(arguments, application).await,
        Verb::List(arguments) => list::run(arguments, application).await,
        Verb::Inspect(arguments) => inspect::run(arguments, application).await,
        Verb::Import(arguments) => import::run(arguments, application).await,
        Verb::Export(arguments) => export::run(arguments, application).await,
        Verb::Remove(arguments) => remove::run(arguments, application).await,
        Verb::Prune(arguments) => prune::run(arguments, application).await,
        Verb::Usage(arguments) => usage::run(arguments, application).await,
    }
}
