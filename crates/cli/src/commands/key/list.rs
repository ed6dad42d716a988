//! `key list`.

use agentkernel_server::{KeyEntry, KeyFile};
use serde::Serialize;

use crate::application::Application;
use crate::output::{CliError, Style, Table, age_of, print_json, print_text, warn_line};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel key list
  agentkernel key list --json

--json prints an array of {name, scope, concurrent, per_minute, created_at}. The key of
AGENTKERNEL_API_KEY, which a server takes as well, is not among them.")]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    scope: &'a str,
    concurrent: Option<u32>,
    per_minute: Option<u32>,
    created_at: &'a str,
}

impl<'a> From<&'a KeyEntry> for Entry<'a> {
    fn from(key: &'a KeyEntry) -> Self {
        Self {
            name: &key.name,
            scope: key.scope.as_str(),
            concurrent: key.quota.concurrent,
            per_minute: key.quota.per_minute,
            created_at: &key.created_at,
        }
    }
}

/// Runs it.
pub(super) fn run(arguments: &Args, application: &Application) -> Result<u8, CliError> {
    let keys = KeyFile::of(&application.state_dir()?).list()?;
    let entries: Vec<Entry<'_>> = keys.iter().map(Entry::from).collect();
    if arguments.json {
        print_json(&entries)?;
    } else if entries.is_empty() {
        warn_line("No API keys. Make one with: agentkernel key create NAME");
    } else {
        let mut table = Table::new(["NAME", "SCOPE", "CONCURRENT", "PER MINUTE", "AGE"]);
        let shown = |limit: Option<u32>| limit.map_or("-".to_owned(), |limit| limit.to_string());
        for key in entries {
            table.row([
                (key.name.to_owned(), None),
                (key.scope.to_owned(), None),
                (shown(key.concurrent), None),
                (shown(key.per_minute), None),
                (age_of(key.created_at), None),
            ]);
        }
        print_text(&table.render(Style::of(&application.environment)))?;
    }
    Ok(0)
}
