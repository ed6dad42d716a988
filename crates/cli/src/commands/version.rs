//! `version`.

use agentkernel_backends::AUTOMATIC_ORDER;

use super::Json;
use crate::application::Application;
use crate::output::{CliError, print_json, print_text};

/// The arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print {version, backends} as JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, _: &Application) -> Result<u8, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    let backends =
        AUTOMATIC_ORDER.iter().filter(|candidate| candidate.included).map(|candidate| candidate.name);
    let backends: Vec<&str> = backends.collect();
    if arguments.json {
        print_json(&serde_json::json!({ "version": version, "backends": backends }))?;
    } else {
        print_text(&format!("agentkernel {version} (backends: {})\n", backends.join(", ")))?;
    }
    Ok(0)
}
