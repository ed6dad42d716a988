//! `help`: the same as `--help` after a verb, for those who say it first.

use std::ffi::OsString;

use super::{GROUP, Json};
use crate::application::Application;
use crate::arguments::CommandLine;
use crate::output::{CliError, report_usage};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel help
  agentkernel help run
  agentkernel help sandbox create

The same as agentkernel VERB --help.")]
pub(crate) struct Args {
    /// The verb; without one, all of them are listed
    #[arg(value_name = "VERB", num_args = 0..=2)]
    verb: Vec<String>,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, _: &Application) -> Result<u8, CliError> {
    let verb = match arguments.verb.as_slice() {
        [] => &[][..],
        [verb] => std::slice::from_ref(verb),
        // `help run echo` must not become `run echo --help`, which would run something.
        [group, verb] if group == GROUP || group == "sb" => std::slice::from_ref(verb),
        [group, _] if group == "image" => arguments.verb.as_slice(),
        [_, rest @ ..] => {
            return Err(CliError::usage(format!("help takes one verb: leave out {:?}", rest.join(" "))));
        }
    };
    let line = ["agentkernel"].into_iter().chain(verb.iter().map(String::as_str)).chain(["--help"]);
    match CommandLine::parse(line.map(OsString::from)) {
        Err(help) => Ok(report_usage(&help)),
        Ok(_) => Err(CliError::usage("help takes one verb; agentkernel --help lists them")),
    }
}
