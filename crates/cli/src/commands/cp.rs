//! `cp`.

use std::ffi::OsString;

use agentkernel_engine::{CopyEnd, EngineError};

use super::Json;
use crate::application::Application;
use crate::output::{CliError, warn_line};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel cp script.py work:/workspace/
  agentkernel cp work:/workspace/out ./out
  agentkernel cp src/. work:/workspace/src
  agentkernel cp one:/data two:/data

As docker cp: a folder is copied with everything in it; FOLDER/. copies what is in it. A host path
with a colon is written with a leading ./ or /. What comes out of a sandbox can't be written
outside of the destination.")]
pub(crate) struct Args {
    /// Source: a host path, or NAME:PATH
    #[arg(value_name = "SOURCE")]
    from: OsString,
    /// Destination: a host path, or NAME:PATH
    #[arg(value_name = "DESTINATION")]
    to: OsString,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let from = CopyEnd::parse(&arguments.from).map_err(EngineError::from)?;
    let to = CopyEnd::parse(&arguments.to).map_err(EngineError::from)?;
    if let (CopyEnd::Host(_), CopyEnd::Host(_)) = (&from, &to) {
        return Err(CliError::usage("one end must be in a sandbox, as NAME:PATH"));
    }
    let report = application.engine().await?.copy(&from, &to).await?;
    // What was left out is said unasked: a copy that isn't whole must not look like one.
    if application.verbose || report.counts.skipped > 0 {
        warn_line(&format!("agentkernel: {report}"));
    }
    Ok(0)
}
