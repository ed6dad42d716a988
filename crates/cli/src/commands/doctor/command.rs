//! The verb itself.

use agentkernel_config::{Effective, Overrides};
use serde::Serialize;

use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, Colour, Style, Table, describe, print_json, print_text};

use super::check::{Check, Status};
use super::machine::Machine;
use super::survey::Survey;
use super::{backends, kernel, state};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel doctor
  agentkernel doctor --json
  agentkernel --state-dir /srv/sandboxes doctor --config other.toml

The check default-run tells what becomes of agentkernel run COMMAND with the settings in effect: which
backend it gets and why, or why it is refused.

Exit codes: 0 nothing fails (warnings are fine); 1 something does, a refused default run included.
--json prints {ok, checks: [{id, status, what, fix}], settings: [{key, value, origin}]}.")]
pub(crate) struct Args {
    /// Configuration file to explain [default: agentkernel.toml of the current folder, where there is one]
    #[arg(short, long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// One line of the settings in `--json`.
#[derive(Serialize)]
struct Setting {
    key: &'static str,
    value: String,
    origin: String,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    ok: bool,
    checks: &'a [Check],
    settings: Vec<Setting>,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let settings = application.settings(arguments.config.as_deref(), Overrides::default());
    let mut checks = kernel::checks(&Machine::this(&application.environment));
    let effective = match &settings {
        Ok(settings) => {
            checks.push(Check::ok("settings", "the settings are valid"));
            settings.explain()
        }
        Err(error) => {
            let fix = "correct the place named; docs/configuration.md lists every key";
            checks.push(Check::fail("settings", describe(error), fix));
            Vec::new()
        }
    };
    match application.state_dir() {
        Ok(dir) => {
            let survey = Survey::make(application, &dir, settings.as_ref().ok()).await;
            if let Ok(survey) = &survey {
                backends::soften(&mut checks, survey);
            }
            checks.push(state::writable(&dir));
            checks.extend(match &survey {
                Ok(survey) => backends::checks(survey),
                Err(error) => vec![Check::fail("backends", describe(error), "correct what is named")],
            });
        }
        Err(error) => checks.push(Check::fail("state", describe(&error), "give --state-dir PATH")),
    }
    let ok = checks.iter().all(|check| check.status != Status::Fail);
    if arguments.json {
        let settings = effective.into_iter().map(setting).collect();
        print_json(&Document { ok, checks: &checks, settings })?;
    } else {
        print_text(&render(&checks, effective, Style::of(&application.environment)))?;
    }
    Ok(u8::from(!ok))
}

fn setting(effective: Effective) -> Setting {
    Setting { key: effective.key, value: effective.value, origin: effective.origin.to_string() }
}

/// The checks for people: one line each, and the fix below where there is one.
pub(crate) fn check_lines(checks: &[Check], style: Style) -> String {
    let mut text = String::new();
    for check in checks {
        let (word, colour) = match check.status {
            Status::Ok => ("ok  ", Colour::Green),
            Status::Warn => ("warn", Colour::Yellow),
            Status::Fail => ("FAIL", Colour::Red),
        };
        text.push_str(&format!("{}  {}: {}\n", style.paint(colour, word), check.id, check.what));
        if let Some(fix) = &check.fix {
            text.push_str(&format!("      fix: {fix}\n"));
        }
    }
    text
}

fn render(checks: &[Check], settings: Vec<Effective>, style: Style) -> String {
    let mut text = check_lines(checks, style);
    if !settings.is_empty() {
        let mut table = Table::new(["SETTING", "VALUE", "FROM"]);
        for Effective { key, value, origin } in settings {
            table.row([(key.to_owned(), None), (value, None), (origin.to_string(), Some(Colour::Dim))]);
        }
        text.push('\n');
        text.push_str(&table.render(style));
    }
    text
}
