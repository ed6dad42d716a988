//! `create`: a sandbox that lasts.

use std::path::{Path, PathBuf};

use agentkernel_backend::Lifetime;
use agentkernel_config::AgentName;
use agentkernel_engine::PlanRequest;
use agentkernel_model::{Access, BoxPath, Mount, SandboxName};

use super::Json;
use crate::application::Application;
use crate::arguments::SandboxFlags;
use crate::output::{CliError, print_json, print_text, warn_line};
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel create work
  agentkernel create work --dir . --agent claude
  agentkernel create web --image nginx:1.27 -P 8080:80 --memory 1g
  agentkernel create app --dir . --build
  agentkernel create work --config examples/agentkernel.toml

Prints the name. The sandbox isn't running yet: agentkernel start NAME. Its backend and the content of
its image are remembered: a tag that moves later changes nothing.")]
pub(crate) struct Args {
    /// Name: letters, digits, - and _ [default: sandbox.name of the configuration file]
    name: Option<SandboxName>,
    /// Project folder, shown read-write at /workspace; its agentkernel.toml is used where --config isn't given
    #[arg(short, long, value_name = "FOLDER", help_heading = "Sandbox")]
    dir: Option<PathBuf>,
    /// AI coding agent it is meant for: claude, codex, gemini or opencode
    #[arg(short, long, value_name = "AGENT", help_heading = "Sandbox")]
    agent: Option<AgentName>,
    #[command(flatten)]
    flags: SandboxFlags,
    /// Print the sandbox as JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let mut overrides = arguments.flags.overrides()?;
    overrides.name.clone_from(&arguments.name);
    overrides.agent = arguments.agent;
    let mut environment = application.environment.clone();
    let config = arguments.flags.config.as_deref().map(|file| environment.absolute(file));
    if let Some(dir) = &arguments.dir {
        for mount in &mut overrides.mounts {
            mount.source = environment.absolute(&mount.source);
        }
        let dir = folder(&environment.absolute(dir))?;
        overrides.mounts.insert(0, workspace(&dir)?);
        // As if the caller stood there: its agentkernel.toml is found, and not trusted more than any found one.
        environment.cwd = dir;
    }
    let settings = application.settings_in(&environment, config.as_deref(), overrides)?;
    let name = settings.name.clone().ok_or_else(|| {
        CliError::usage("a name is needed: agentkernel create NAME, or sandbox.name in agentkernel.toml")
    })?;
    let engine = application.engine_with(&settings).await?;
    let backend = engine.select(settings.backend.as_ref()).await?;
    let progress = Progress::new(&environment);
    let request = PlanRequest {
        settings: &settings,
        environment: &environment,
        backend: backend.as_ref(),
        lifetime: Lifetime::Persistent,
        command: None,
        progress: &progress,
    };
    let planned = engine.plan(&request).await?;
    drop(progress);
    if application.verbose {
        planned.notes.iter().for_each(|note| warn_line(&format!("agentkernel: {note}")));
    }
    let view = engine.create_from(&name, planned.spec, &settings.files, settings.config_file.clone()).await?;
    if arguments.json {
        print_json(&view)?;
    } else {
        print_text(&format!("{name}\n"))?;
        if application.hints() {
            warn_line(&format!("agentkernel: start it with: agentkernel start {name}"));
        }
    }
    Ok(0)
}

/// The folder without links and dots: what is mounted is what was meant.
fn folder(dir: &Path) -> Result<PathBuf, CliError> {
    let resolved =
        dir.canonicalize().map_err(|source| CliError::io(format!("use --dir {}", dir.display()), source))?;
    if !resolved.is_dir() {
        return Err(CliError::usage(format!("--dir {} is not a folder", dir.display())));
    }
    Ok(resolved)
}

fn workspace(dir: &Path) -> Result<Mount, CliError> {
    let target = BoxPath::new("/workspace").map_err(|error| CliError::usage(error.to_string()))?;
    Ok(Mount { source: dir.to_owned(), target, access: Access::ReadWrite })
}
