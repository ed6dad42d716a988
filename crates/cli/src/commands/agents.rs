//! `agents`.

use agentkernel_config::Environment;
use agentkernel_engine::{AGENTS, Agent};
use serde::Serialize;

use super::Json;
use crate::application::Application;
use crate::output::{CliError, Colour, Style, Table, print_json, print_text};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel agents
  agentkernel agents --json

Looks in PATH and for the variables that hold API keys; runs nothing and shows no key. Then:
  agentkernel create work --dir . --agent claude && agentkernel start work
  agentkernel attach work -e ANTHROPIC_API_KEY")]
pub(crate) struct Args {
    /// Print JSON: an array of {name, title, installed, path, api_key, api_key_variables, install}
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// One agent in `--json`.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    title: &'static str,
    installed: bool,
    path: Option<String>,
    /// The variable that is set, if any.
    api_key: Option<&'static str>,
    api_key_variables: &'static [&'static str],
    install: &'static str,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let entries: Vec<Entry> = AGENTS.iter().map(|agent| entry(agent, &application.environment)).collect();
    if arguments.json {
        print_json(&entries)?;
    } else {
        print_text(&render(&entries, Style::of(&application.environment)))?;
    }
    Ok(0)
}

fn entry(agent: &Agent, environment: &Environment) -> Entry {
    let path = agent.installed(&environment.path_dirs());
    Entry {
        name: agent.name.as_str(),
        title: agent.title,
        installed: path.is_some(),
        path: path.map(|path| path.display().to_string()),
        api_key: agent.api_key_variable(environment),
        api_key_variables: agent.api_key_variables,
        install: agent.install_hint,
    }
}

fn render(entries: &[Entry], style: Style) -> String {
    let mut table = Table::new(["AGENT", "STATUS", "API KEY"]);
    for entry in entries {
        let installed =
            if entry.installed { ("installed", Colour::Green) } else { ("not installed", Colour::Yellow) };
        let key = if entry.api_key.is_some() { ("set", Colour::Green) } else { ("missing", Colour::Yellow) };
        table.row([
            (entry.name.to_owned(), None),
            (installed.0.to_owned(), Some(installed.1)),
            (key.0.to_owned(), Some(key.1)),
        ]);
    }
    let mut text = table.render(style);
    for entry in entries {
        if !entry.installed {
            text.push_str(&format!("{}: install it with: {}\n", entry.name, entry.install));
        }
        if entry.api_key.is_none() {
            let variables = entry.api_key_variables;
            let first = variables.first().copied().unwrap_or("its API key");
            let others =
                if variables.len() > 1 { " (or another provider's variable; --json lists them)" } else { "" };
            text.push_str(&format!("{}: set {first}{others}\n", entry.name));
        }
    }
    text
}
