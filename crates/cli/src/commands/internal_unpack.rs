//! `internal-unpack`: unpacks one layer as root of a user namespace, so that its files belong to subordinate ids. Started by
//! whoever fetches an image as an ordinary user.

use std::ffi::OsString;

use super::Json;
use crate::application::Application;
use crate::output::{CliError, print_json};

/// The arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the image store asks for
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    request: Vec<OsString>,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, _: &Application) -> Result<u8, CliError> {
    // Nobody else waits in this process.
    print_json(&agentkernel_image::unpack_main(&arguments.request)?)?;
    Ok(0)
}
