//! `list`.

use std::collections::BTreeMap;

use agentkernel_engine::SandboxView;
use agentkernel_model::Phase;
use serde::Serialize;

use super::Json;
use crate::application::Application;
use crate::arguments::parse_label;
use crate::output::{CliError, Colour, Style, Table, age_of, describe, print_json, print_text, warn_line};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel list
  agentkernel ls --label team=data
  agentkernel list --json

--json prints an array of {name, id, status, backend, image, profile, created_at, labels, problem}.")]
pub(crate) struct Args {
    /// Only those with this label; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Print only names
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// One line of `--json`.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    id: &'a str,
    status: Phase,
    backend: &'a str,
    image: &'a str,
    profile: &'a str,
    created_at: &'a str,
    labels: &'a BTreeMap<String, String>,
    problem: Option<&'a str>,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let engine = application.engine().await?;
    let mut views = engine.list().await?;
    views.retain(|view| {
        arguments
            .labels
            .iter()
            .all(|(key, value)| view.spec.labels.get(key).is_some_and(|found| found == value))
    });
    for (name, error) in engine.unreadable()? {
        warn_line(&format!("agentkernel: warning: sandbox {name}: {}", describe(&error)));
    }
    if arguments.json {
        print_json(&views.iter().map(entry).collect::<Vec<_>>())?;
    } else if arguments.quiet {
        print_text(&views.iter().map(|view| format!("{}\n", view.name)).collect::<String>())?;
    } else if views.is_empty() {
        warn_line(nothing(!arguments.labels.is_empty()));
    } else {
        print_text(&table(&views).render(Style::of(&application.environment)))?;
    }
    Ok(0)
}

/// What is said instead of an empty table; where labels were asked for there may well be sandboxes.
fn nothing(filtered: bool) -> &'static str {
    if filtered {
        "No sandbox has these labels. See all with: agentkernel list"
    } else {
        "No sandboxes. Make one with: agentkernel create NAME"
    }
}

fn entry(view: &SandboxView) -> Entry<'_> {
    Entry {
        name: view.name.as_str(),
        id: &view.id,
        status: view.phase,
        backend: view.backend.as_str(),
        image: view.image.as_str(),
        profile: view.profile.as_str(),
        created_at: &view.created_at,
        labels: &view.spec.labels,
        problem: view.problem.as_deref(),
    }
}

fn table(views: &[SandboxView]) -> Table {
    let mut table = Table::new(["NAME", "STATUS", "BACKEND", "IMAGE", "PROFILE", "AGE"]);
    for view in views {
        let colour = match view.phase {
            Phase::Running => Some(Colour::Green),
            Phase::Stopped => Some(Colour::Dim),
            Phase::Creating
            | Phase::Starting
            | Phase::Pausing
            | Phase::Paused
            | Phase::Stopping
            | Phase::Removing => Some(Colour::Yellow),
        };
        table.row([
            (view.name.to_string(), None),
            (view.phase.to_string(), colour),
            (view.backend.to_string(), None),
            (view.image.to_string(), None),
            (view.profile.to_string(), None),
            (age_of(&view.created_at), None),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_match_nothing_do_not_claim_that_there_are_no_sandboxes() {
        assert!(nothing(true).contains("label"));
        assert!(nothing(true).contains("agentkernel list"));
        assert!(nothing(false).contains("agentkernel create NAME"));
    }
}
