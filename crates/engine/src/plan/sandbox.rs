//! Putting the specification together.

use std::path::Path;

use agentkernel_backend::ReadyImage;
use agentkernel_config::Settings;
use agentkernel_model::{BoxPath, ImageConfig, ImageRef, Mount, SandboxName, SandboxSpec, UserSpec};

use super::environment::{Defaults, UNNAMED_HOST, UNNAMED_SANDBOX};
use super::image::{choose, config_of, prepare};
use super::mounts::{HOME, WORKSPACE, mounts};
use super::{ImageChoice, PlanError, PlanRequest, PlannedSandbox, build_request};
use crate::exec::overlay;
use crate::toolchains::{Toolchains, find_toolchains};
use crate::{Engine, EngineError};

impl Engine {
    /// Decides everything that the settings leave open: image, mounts, environment, command. Makes no sandbox; fetches or
    /// builds the image where that is needed, which is the last thing that is done and only where the rest can be
    /// honoured. Limits come from the profile or the user alike: both are enforced or refused.
    pub async fn plan(&self, request: &PlanRequest<'_>) -> Result<PlannedSandbox, EngineError> {
        let settings = request.settings;
        let tools =
            if settings.toolchains { find_toolchains(request.environment) } else { Toolchains::default() };
        let mut notes = Vec::new();
        note_tools(settings, &tools, &mut notes);
        let draft = draft(request, tools.mounts.clone())?;
        let (image, ready) = match &settings.build {
            Some(build) => {
                self.refuse_draft(&draft, None, request)?;
                let built = self.build(build, request).await?;
                (built.0, Some(built.1))
            }
            None => {
                let named = choose(request, &tools.path).await?;
                self.refuse_draft(&draft, Some(&named.image), request)?;
                prepare(request, named).await?
            }
        };
        notes.push(image.to_string());
        let config = config_of(ready.as_ref());
        let argv = match &request.command {
            None => Vec::new(),
            Some(command) => match config.argv(command.entrypoint, command.words) {
                argv if argv.is_empty() => {
                    return Err(PlanError::NothingToRun { image: image.name }.into());
                }
                argv => argv,
            },
        };
        let spec = complete(request, draft, &image, ready.as_ref(), &config, &tools)?;
        Ok(PlannedSandbox { spec, argv, image, notes })
    }

    /// Before an image is fetched: what can't be honoured is refused without it.
    fn refuse_draft(
        &self,
        draft: &SandboxSpec,
        image: Option<&ImageRef>,
        request: &PlanRequest<'_>,
    ) -> Result<(), EngineError> {
        let mut spec = draft.clone();
        if let Some(image) = image {
            spec.image = image.clone();
        }
        let (name, capabilities) = (request.backend.name(), request.backend.capabilities());
        agentkernel_backend::refuse_unsupported(name, capabilities, &spec, request.lifetime)?;
        Ok(())
    }
}

/// What [`Engine::plan`] would decide, as far as that is known without fetching or building anything: for who only wants
/// to know. The image has no id, and nothing that it says is in it.
pub async fn preview_sandbox(request: &PlanRequest<'_>) -> Result<PlannedSandbox, EngineError> {
    let settings = request.settings;
    let tools =
        if settings.toolchains { find_toolchains(request.environment) } else { Toolchains::default() };
    let draft = draft(request, tools.mounts.clone())?;
    let image = match &settings.build {
        Some(build) => {
            let asked = build_request(build, settings, request.environment)?;
            let because = format!("built from {}", asked.context.join(&asked.dockerfile).display());
            ImageChoice { name: asked.tag, id: None, because }
        }
        None => {
            let named = choose(request, &tools.path).await?;
            ImageChoice { name: named.image.to_string(), id: None, because: named.because }
        }
    };
    let mut notes = Vec::new();
    note_tools(settings, &tools, &mut notes);
    notes.push(image.to_string());
    let argv = request.command.map(|command| command.words.to_vec()).unwrap_or_default();
    let spec = complete(request, draft, &image, None, &ImageConfig::default(), &tools)?;
    Ok(PlannedSandbox { spec, argv, image, notes })
}

/// All of a specification that no image can change.
fn draft(request: &PlanRequest<'_>, tools: Vec<Mount>) -> Result<SandboxSpec, EngineError> {
    let settings = request.settings;
    let name = settings.name.as_ref().map(SandboxName::as_str);
    Ok(SandboxSpec {
        backend: request.backend.name().clone(),
        // A name that no rule takes for the host's; the real one comes later.
        image: "unknown".parse::<ImageRef>().map_err(PlanError::from)?,
        image_id: None,
        profile: settings.profile,
        network: settings.grants.network,
        read_only_root: settings.grants.read_only,
        mounts: mounts(settings, request.environment, tools)?,
        ports: settings.ports.clone(),
        env: Vec::new(),
        workdir: BoxPath::new(WORKSPACE).map_err(PlanError::from)?,
        user: settings.user.clone(),
        resources: settings.resources.clone(),
        allow_unlimited: settings.allow_unlimited,
        hostname: name.unwrap_or(UNNAMED_HOST).to_owned(),
        agent: settings.agent.clone(),
        labels: settings.labels.clone(),
    })
}

/// The draft with what the image says where the user is silent.
fn complete(
    request: &PlanRequest<'_>,
    draft: SandboxSpec,
    image: &ImageChoice,
    ready: Option<&ReadyImage>,
    config: &ImageConfig,
    tools: &Toolchains,
) -> Result<SandboxSpec, EngineError> {
    let settings = request.settings;
    let user = settings.user.clone().or_else(|| config.user.clone());
    let is_root = user.as_ref().is_none_or(UserSpec::is_root);
    let home = match settings.grants.mount_home {
        true => Some(HOME),
        // Who another user of an image is, and where that one lives, is known when a command starts.
        false => (is_root || ready.is_none()).then_some("/root"),
    };
    let name = settings.name.as_ref().map_or(UNNAMED_SANDBOX, SandboxName::as_str);
    let defaults = Defaults { sandbox: name, home, tools: &tools.path, image: &config.env }.variables();
    Ok(SandboxSpec {
        image: image.name.parse().map_err(PlanError::from)?,
        image_id: image.id.clone(),
        env: overlay(&overlay(&defaults, &tools.env)?, &settings.env)?,
        workdir: workdir(settings, &draft.mounts, config).unwrap_or(draft.workdir),
        user,
        ..draft
    })
}

/// Where commands start: where the user says, else in the folder that is shown, else where the image says.
fn workdir(settings: &Settings, mounts: &[Mount], config: &ImageConfig) -> Option<BoxPath> {
    if let Some(workdir) = &settings.workdir {
        return Some(workdir.clone());
    }
    let shown = mounts.iter().any(|mount| mount.target.as_path() == Path::new(WORKSPACE));
    if shown { None } else { config.workdir.clone() }
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
