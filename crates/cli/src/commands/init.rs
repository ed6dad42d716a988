//! `init`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use agentkernel_config::AgentName;
use agentkernel_model::{Profile, SandboxName};

use super::Json;
use crate::application::Application;
use crate::output::{CliError, print_text};

const FILE: &str = "agentkernel.toml";

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel init
  agentkernel init --name work --agent codex --profile restrictive

An existing file is never overwritten.")]
pub(crate) struct Args {
    /// Name of the sandbox [default: the folder's name]
    #[arg(short, long, value_name = "NAME")]
    name: Option<SandboxName>,
    /// AI coding agent: claude, codex, gemini or opencode
    #[arg(short, long, value_name = "AGENT", default_value = "claude")]
    agent: AgentName,
    /// Security profile: permissive, moderate or restrictive
    #[arg(short, long, value_name = "PROFILE", default_value = "moderate")]
    profile: Profile,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let folder = &application.environment.cwd;
    let name = match arguments.name {
        Some(name) => name,
        None => name_of(&folder.file_name().unwrap_or_default().to_string_lossy())?,
    };
    let path = folder.join(FILE);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|source| {
        if source.kind() == ErrorKind::AlreadyExists {
            return CliError::usage(format!(
                "{} already exists: edit it, or remove it first",
                path.display()
            ));
        }
        CliError::io(format!("write {}", path.display()), source)
    })?;
    file.write_all(content(&name, arguments.agent, arguments.profile).as_bytes())
        .map_err(|source| CliError::io(format!("write {}", path.display()), source))?;
    print_text(&format!("Wrote {FILE}. Next: agentkernel create --dir . && agentkernel start {name}\n"))?;
    Ok(0)
}

/// The folder's name, with what a sandbox name can't hold replaced.
fn name_of(folder: &str) -> Result<SandboxName, CliError> {
    let plain: String = folder
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(63)
        .collect();
    plain.trim_matches(['-', '_']).parse().map_err(|_| {
        CliError::usage(format!("the folder's name {folder:?} makes no sandbox name: give one with --name"))
    })
}

fn content(name: &SandboxName, agent: AgentName, profile: Profile) -> String {
    let resources = profile.resources();
    let memory = resources
        .memory
        .map_or_else(|| "# memory_mb = 512".to_owned(), |mib| format!("memory_mb = {}", mib.0));
    let cpus = resources.cpus.map_or_else(|| "# vcpus = 1".to_owned(), |cpus| format!("vcpus = {cpus}"));
    format!(
        "\
# Settings of agentkernel for this project. Flags and AGENTKERNEL_... variables beat it.
# Every key: docs/configuration.md. What is in effect, and why: agentkernel doctor.

[sandbox]
name = \"{name}\"
# image = \"host\"

[agent]
preferred = \"{agent}\"

[resources]
{cpus}
{memory}

[security]
profile = \"{profile}\"
# Single grants beat the profile:
# network = false
# mount_cwd = true
# read_only = true
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_names_that_are_valid() {
        for (folder, name) in
            [("project", "project"), ("my project.rs", "my-project-rs"), (".hidden_", "hidden")]
        {
            assert_eq!(name_of(folder).unwrap().as_str(), name);
        }
        assert!(name_of("...").is_err() && name_of("").is_err());
    }

    #[test]
    fn the_file_is_one_that_is_understood() {
        for profile in Profile::ALL {
            let text = content(&"x".parse().unwrap(), AgentName::Codex, profile);
            agentkernel_config::parse(&text, std::path::Path::new(FILE)).unwrap();
        }
    }
}
