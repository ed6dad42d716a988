//! `start`.

use agentkernel_model::{BackendName, SandboxName};

use super::Json;
use super::several::each;
use crate::application::Application;
use crate::output::{CliError, warn_line};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel start work
  agentkernel start work web && agentkernel exec work -- ls

Starting one that runs is fine. It keeps running after this command has ended.")]
pub(crate) struct Args {
    /// Names of sandboxes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<SandboxName>,
    /// Backend; only the one that made the sandbox is accepted
    #[arg(short = 'B', long, value_name = "BACKEND")]
    backend: Option<BackendName>,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let engine = application.engine_at(&application.state_dir()?, arguments.backend.as_ref()).await?;
    each(&arguments.names, async |name| {
        engine.backend_of(name, arguments.backend.as_ref())?;
        let view = engine.start(name).await?;
        if application.verbose {
            if let Some(isolation) = &view.isolation {
                warn_line(&format!("agentkernel: {name}: isolation: {isolation}"));
            }
            view.published
                .iter()
                .for_each(|port| warn_line(&format!("agentkernel: {name}: published: {port}")));
        }
        Ok(())
    })
    .await
}
