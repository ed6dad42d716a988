//! `internal-steps`: what each kind of step of a new box costs, for `cargo xtask bench`.

use agentkernel_backend::Lifetime;
use agentkernel_config::Overrides;
use agentkernel_engine::PlanRequest;
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
    let engine = application.engine_with(&settings).await?;
    let backend = engine.select(settings.backend.as_ref()).await?;
    let request = PlanRequest {
        settings: &settings,
        environment: &application.environment,
        backend: backend.as_ref(),
        lifetime: Lifetime::Ephemeral,
        command: None,
        progress: &(),
    };
    let mut spec = engine.plan(&request).await?.spec;
    spec.network = NetworkAccess::None;
    let native = application.backend_settings(&settings)?.native;
    let costs = agentkernel_backends::step_costs(&settings.state_dir, native, &spec)
        .await
        .map_err(agentkernel_engine::EngineError::from)?;
    let rows: Vec<_> = costs
        .into_iter()
        .map(|(step, cost)| serde_json::json!({ "step": step, "microseconds": cost.as_nanos() as f64 / 1000.0 }))
        .collect();
    print_json(&rows)?;
    Ok(0)
}
