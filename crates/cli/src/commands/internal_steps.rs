//! `internal-steps`: what each kind of step of a new box costs, for `cargo xtask bench`.

use agentkernel_config::Overrides;
use agentkernel_engine::plan_sandbox;
use agentkernel_model::NetworkAccess;

use super::Json;
use crate::application::Application;
use crate::output::{CliError, print_json};

/// The arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(_: Args, application: &Application) -> Result<u8, CliError> {
    let settings = application.settings(None, Overrides::default())?;
    let engine = application.engine_at(&settings.state_dir, settings.backend.as_ref()).await?;
    let backend = engine.select(settings.backend.as_ref()).await?;
    let mut spec = plan_sandbox(&settings, &application.environment, backend.as_ref(), None)?.spec;
    spec.network = NetworkAccess::None;
    let costs = agentkernel_backends::step_costs(&settings.state_dir, &spec)
        .await
        .map_err(agentkernel_engine::EngineError::from)?;
    let rows: Vec<_> = costs
        .into_iter()
        .map(|(step, cost)| serde_json::json!({ "step": step, "microseconds": cost.as_nanos() as f64 / 1000.0 }))
        .collect();
    print_json(&rows)?;
    Ok(0)
}
