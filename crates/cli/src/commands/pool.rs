//! `pool`: sandboxes that the daemon starts before they are asked for.

use std::path::Path;

use agentkernel_model::{BackendName, ImageRef, Profile};
use agentkernel_sdk::{AgentKernel, Error, PoolStatus, WarmRequest};

use super::Json;
use crate::application::Application;
use crate::daemon_boxes::socket;
use crate::output::{CliError, print_json, print_text};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  agentkernel pool status
  agentkernel pool warm 4 --image host --profile restrictive
  agentkernel pool drain

The daemon of this state directory is asked. It starts sandboxes before they are asked for, of the
kinds that were asked for lately; each is used by one command and then removed. agentkernel run
takes one of exactly its own kind where one waits; nothing else about the run changes."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// One of them.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show which sandboxes wait, by kind
    Status(StatusArgs),
    /// Start sandboxes of a kind and wait until they are ready
    Warm(WarmArgs),
    /// End all sandboxes that wait, and forget their kinds
    Drain(DrainArgs),
}

/// Of `pool status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel pool status
  agentkernel pool status --json")]
struct StatusArgs {
    /// Print JSON: what GET /pool answers
    #[arg(long)]
    json: bool,
}

/// Of `pool warm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel pool warm 4
  agentkernel pool warm 2 --image alpine:3.20 --no-network")]
struct WarmArgs {
    /// How many are to wait
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// The backend [default: as for run]
    #[arg(long, value_name = "NAME")]
    backend: Option<BackendName>,
    /// The image [default: as for run]
    #[arg(long, value_name = "IMAGE")]
    image: Option<ImageRef>,
    /// The profile [default: as for run]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<Profile>,
    /// Without a network
    #[arg(long)]
    no_network: bool,
    /// Print JSON: what POST /pool/warm answers
    #[arg(long)]
    json: bool,
}

/// Of `pool drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel pool drain")]
struct DrainArgs {
    /// Print JSON: what POST /pool/drain answers
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        match &self.verb {
            Verb::Status(arguments) => arguments.json,
            Verb::Warm(arguments) => arguments.json,
            Verb::Drain(arguments) => arguments.json,
        }
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let socket = socket(&application.state_dir()?);
    let client = AgentKernel::unix(&socket).build()?;
    let unreached = |error| explain(error, &socket);
    match arguments.verb {
        Verb::Status(StatusArgs { json }) => show(&client.pool().await.map_err(unreached)?, json)?,
        Verb::Warm(arguments) => {
            let request = WarmRequest {
                backend: arguments.backend.map(|name| name.to_string()),
                image: arguments.image.map(|image| image.to_string()),
                profile: arguments.profile.map(|profile| profile.to_string()),
                network: arguments.no_network.then_some(false),
                count: arguments.count,
            };
            show(&client.warm_pool(&request).await.map_err(unreached)?, arguments.json)?;
        }
        Verb::Drain(DrainArgs { json }) => {
            let report = client.drain_pool().await.map_err(unreached)?;
            match json {
                true => print_json(&report)?,
                false => print_text(&format!("{} ended\n", report.drained))?,
            }
        }
    }
    Ok(0)
}

fn explain(error: Error, socket: &Path) -> CliError {
    match error {
        Error::Connect { .. } => CliError::usage(format!(
            "no daemon answers at {}: start one with `agentkernel daemon start`",
            socket.display()
        )),
        other => other.into(),
    }
}

fn show(status: &PoolStatus, json: bool) -> Result<(), CliError> {
    if json { print_json(status) } else { print_text(&table(status)) }
}

fn table(status: &PoolStatus) -> String {
    if !status.enabled {
        return "the pool is switched off ([pool] enabled)\n".to_owned();
    }
    let heads = ["KIND", "BACKEND", "IMAGE", "PROFILE", "READY", "STARTING", "MIN", "MAX", "HITS", "MISSES"];
    let mut rows: Vec<Vec<String>> = vec![heads.map(str::to_owned).into()];
    rows.extend(status.templates.iter().map(|kind| {
        let numbers = [kind.ready, kind.starting, kind.min, kind.max].map(|number| number.to_string());
        let words = [&kind.id, &kind.backend, &kind.image, &kind.profile].map(Clone::clone);
        let counts = [kind.hits, kind.misses].map(|number| number.to_string());
        words.into_iter().chain(numbers).chain(counts).collect()
    }));
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for (kind, problem) in status.templates.iter().filter_map(|kind| Some((kind, kind.problem.as_ref()?))) {
        text.push_str(&format!("{}: {problem}\n", kind.id));
    }
    text.push_str(&format!("{} of {} MiB\n", status.memory_mb, status.max_memory_mb));
    text
}

#[cfg(test)]
mod tests {
    use agentkernel_sdk::PoolTemplate;

    use super::*;

    #[test]
    fn a_table_names_kinds_and_their_problems() {
        let kind = PoolTemplate {
            id: "0123456789ab".to_owned(),
            backend: "native".to_owned(),
            image: "host".to_owned(),
            profile: "moderate".to_owned(),
            ready: 2,
            starting: 0,
            min: 2,
            max: 16,
            hits: 7,
            misses: 1,
            problem: Some("no room".to_owned()),
        };
        let status =
            PoolStatus { enabled: true, templates: vec![kind], memory_mb: 1024, max_memory_mb: 12_000 };
        assert_eq!(
            table(&status),
            "KIND          BACKEND  IMAGE  PROFILE   READY  STARTING  MIN  MAX  HITS  MISSES\n\
             0123456789ab  native   host   moderate  2      0         2    16   7     1\n\
             0123456789ab: no room\n\
             1024 of 12000 MiB\n"
        );
        let off = PoolStatus::default();
        assert_eq!(table(&off), "the pool is switched off ([pool] enabled)\n");
    }
}
