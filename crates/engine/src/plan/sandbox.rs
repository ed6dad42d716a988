//! Putting the specification together.

use agentkernel_backend::Backend;
use agentkernel_config::{Environment, Settings};
use agentkernel_model::{BoxPath, ByteString, SandboxName, SandboxSpec};

use super::PlanError;
use super::environment::{UNNAMED_HOST, UNNAMED_SANDBOX, defaults};
use super::image::choose;
use super::mounts::{HOME, WORKSPACE, mounts};
use crate::EngineError;
use crate::exec::overlay;
use crate::toolchains::{Toolchains, find_toolchains};

/// A sandbox as it will be asked for, and why it is like that.
#[derive(Debug, Clone)]
pub struct PlannedSandbox {
    /// For [`crate::Engine::run`] and [`crate::Engine::create`].
    pub spec: SandboxSpec,
    /// Choices that the user didn't make, one line each, for `-v`.
    pub notes: Vec<String>,
}

/// Decides everything that `settings` leave open: image, mounts, environment. Changes nothing. `command` is what `run`
/// will start, if that is known. Limits come from the profile or the user alike: both are enforced or refused.
pub fn plan_sandbox(
    settings: &Settings,
    environment: &Environment,
    backend: &dyn Backend,
    command: Option<&[ByteString]>,
) -> Result<PlannedSandbox, EngineError> {
    let (image, mut notes) =
        choose(settings, backend.name().as_str(), backend.capabilities(), command, &environment.cwd)?;
    let tools = if settings.toolchains { find_toolchains(environment) } else { Toolchains::default() };
    note_tools(settings, &tools, &mut notes);
    let name = settings.name.as_ref().map(SandboxName::as_str);
    let home = if settings.grants.mount_home { HOME } else { "/root" };
    let base = overlay(&defaults(name.unwrap_or(UNNAMED_SANDBOX), home, &tools.path), &tools.env)?;
    let workdir = match &settings.workdir {
        Some(workdir) => workdir.clone(),
        None => BoxPath::new(WORKSPACE).map_err(PlanError::from)?,
    };
    let spec = SandboxSpec {
        backend: backend.name().clone(),
        image,
        profile: settings.profile,
        network: settings.grants.network,
        read_only_root: settings.grants.read_only,
        mounts: mounts(settings, environment, tools.mounts)?,
        ports: settings.ports.clone(),
        env: overlay(&base, &settings.env)?,
        workdir,
        user: settings.user.clone(),
        resources: settings.resources.clone(),
        allow_unlimited: settings.allow_unlimited,
        hostname: name.unwrap_or(UNNAMED_HOST).to_owned(),
        agent: settings.agent.clone(),
        labels: settings.labels.clone(),
    };
    Ok(PlannedSandbox { spec, notes })
}

fn note_tools(settings: &Settings, tools: &Toolchains, notes: &mut Vec<String>) {
    if !settings.toolchains {
        return;
    }
    match tools.found.as_slice() {
        [] => notes.push("tool chains: none found in your home".to_owned()),
        found => notes.push(format!("tool chains shown read-only: {}", found.join(", "))),
    }
    notes.extend(tools.left_out.iter().cloned());
}
