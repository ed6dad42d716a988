//! A verb on several sandboxes, or snapshots: each gets its turn, whatever became of the others.

use agentkernel_engine::EngineError;
use agentkernel_model::exit_code as codes;

use crate::output::{CliError, exit_code, print_text, report};

/// Does `act` to each of `names` in turn, prints the names that worked, and reports the errors.
pub(crate) async fn each<N: std::fmt::Display>(
    names: &[N],
    mut act: impl AsyncFnMut(&N) -> Result<(), EngineError>,
) -> Result<u8, CliError> {
    let mut code = 0;
    for name in names {
        match act(name).await {
            Ok(()) => print_text(&format!("{name}\n"))?,
            // One alone is told as usual.
            Err(error) if names.len() == 1 => return Err(error.into()),
            Err(error) => {
                let error = CliError::from(error);
                report(&error, false);
                code = if code == 0 { exit_code(&error) } else { codes::OURS };
            }
        }
    }
    Ok(code)
}
