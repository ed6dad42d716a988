//! `info`.

use std::fmt::Write;

use agentkernel_engine::SandboxView;
use agentkernel_model::{Access, NetworkAccess, SandboxName};

use super::Json;
use crate::application::Application;
use crate::output::{CliError, age_of, print_json, print_text};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel info work
  agentkernel info work --json

Values of environment variables are never shown: they may be secrets.")]
pub(crate) struct Args {
    /// Name of the sandbox
    name: SandboxName,
    /// Print JSON
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
    let view = application.engine_of(&arguments.name).await?.info(&arguments.name).await?;
    if arguments.json {
        print_json(&view)?;
    } else {
        print_text(&lines(&view))?;
    }
    Ok(0)
}

fn lines(view: &SandboxView) -> String {
    let spec = &view.spec;
    let limit = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        // Writing into a String can't fail.
        if writeln!(text, "{key:<13} {value}").is_err() {
            tracing::debug!(key, "a line is missing");
        }
    };
    line("name", view.name.to_string());
    line("id", view.id.clone());
    line("status", view.phase.to_string());
    if let Some(problem) = &view.problem {
        line("problem", problem.clone());
    }
    line("backend", view.backend.to_string());
    line(
        "isolation",
        view.isolation.as_ref().map_or_else(|| "not started yet".to_owned(), ToString::to_string),
    );
    match &view.image_id {
        Some(id) => line("image", format!("{} {}", view.image, id.short())),
        None => line("image", view.image.to_string()),
    }
    line("profile", view.profile.to_string());
    line("created", format!("{} ({} ago)", view.created_at, age_of(&view.created_at)));
    line("network", if spec.network == NetworkAccess::On { "on" } else { "none" }.to_owned());
    line("read-only", spec.read_only_root.to_string());
    line("memory", limit(spec.resources.memory.map(|value| value.to_string())));
    line("cpus", limit(spec.resources.cpus.map(|value| value.to_string())));
    line("pids", limit(spec.resources.pids.map(|value| value.to_string())));
    line("disk", limit(spec.resources.disk.map(|value| value.to_string())));
    line("open files", limit(spec.resources.open_files.map(|value| value.to_string())));
    line("workdir", spec.workdir.to_string());
    line("user", spec.user.as_ref().map_or_else(|| "root".to_owned(), ToString::to_string));
    if let Some(agent) = &spec.agent {
        line("agent", agent.clone());
    }
    for mount in &spec.mounts {
        let access = if mount.access == Access::ReadOnly { "ro" } else { "rw" };
        line("mount", format!("{}:{}:{access}", mount.source.display(), mount.target));
    }
    let ports = if view.published.is_empty() { &spec.ports } else { &view.published };
    for port in ports {
        line("port", port.to_string());
    }
    for variable in &spec.env {
        line("variable", variable.name.to_lossy());
    }
    for (key, value) in &spec.labels {
        line("label", format!("{key}={value}"));
    }
    if let Some(file) = &view.config_file {
        line("config", file.display().to_string());
    }
    text
}
