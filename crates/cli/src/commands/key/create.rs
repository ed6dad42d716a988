//! `key create`.

use agentkernel_server::{KeyFile, NewKey};
use agentkernel_service::{Quota, Scope};
use serde::Serialize;

use super::record::KeyLog;
use crate::application::Application;
use crate::output::{CliError, print_json, print_text, warn_line};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel key create laptop
  KEY=$(agentkernel key create ci --scope read)

The key alone is printed to standard output. Only its hash is kept: one that is lost is removed and
made anew. --json prints {name, scope, key}.")]
pub(crate) struct Args {
    /// Its name: what the audit log and quotas know it by
    name: String,
    /// How far it reaches
    #[arg(long, value_enum, default_value_t = ScopeFlag::Run)]
    scope: ScopeFlag,
    /// Commands that it may run at the same time [default: no limit of its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrent: Option<u32>,
    /// Runs, execs and creations that it may ask for a minute [default: no limit of its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    per_minute: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// [`Scope`] as a flag.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ScopeFlag {
    /// Look: lists, logs, events, files
    Read,
    /// Make and use sandboxes
    Run,
    /// All: permissive sandboxes, folders of the host, images, the pool
    Admin,
}

impl From<ScopeFlag> for Scope {
    fn from(flag: ScopeFlag) -> Self {
        match flag {
            ScopeFlag::Read => Self::Read,
            ScopeFlag::Run => Self::Run,
            ScopeFlag::Admin => Self::Admin,
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Made<'a> {
    name: &'a str,
    scope: &'a str,
    key: &'a str,
}

/// Runs it.
pub(super) fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let new = NewKey {
        name: arguments.name,
        scope: arguments.scope.into(),
        quota: Quota { concurrent: arguments.concurrent, per_minute: arguments.per_minute },
    };
    let log = KeyLog::open(application)?;
    let keys = KeyFile::of(&application.state_dir()?);
    let made = keys.create(&new);
    if let Err(error) = log.note("key_created", &new.name, Some(new.scope.as_str()), &made) {
        // Nobody has seen it: no key is in force that the log doesn't know of.
        if made.is_ok() {
            keys.remove(&new.name)?;
        }
        return Err(error);
    }
    let key = made?;
    if arguments.json {
        print_json(&Made { name: &new.name, scope: new.scope.as_str(), key: &key })?;
    } else {
        print_text(&format!("{key}\n"))?;
        if application.hints() {
            warn_line("Keep it: only its hash is stored, and it can't be shown again.");
        }
    }
    Ok(0)
}
