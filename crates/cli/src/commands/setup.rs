//! `setup`: prepare what can be prepared without root, try a sandbox, and say what an administrator could add.

use std::path::Path;
use std::time::{Duration, Instant};

use agentkernel_backend::Probe;
use agentkernel_backends::AUTOMATIC_ORDER;
use agentkernel_config::Overrides;
use agentkernel_engine::{BackendReport, ExecPlan, RunPlan, plan_sandbox};
use agentkernel_model::ByteString;
use serde::Serialize;

use super::Json;
use super::doctor::{Check, check_lines, missing};
use crate::application::Application;
use crate::output::{CliError, Colour, Style, Table, describe, print_json, print_text};
use crate::session::{KeptStream, Sink, conduct};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel setup
  agentkernel setup --check
  agentkernel setup --check --json

Nothing is downloaded and nothing is run as root: what needs root is printed as a command.
Exit codes: 0 a backend is ready; 1 none is.
--check --json prints {ready, selected, backends: [{name, status, selected, what, why, fix}]}.")]
pub(crate) struct Args {
    /// Only say which backends are ready and which would be used; changes nothing
    #[arg(long)]
    check: bool,
    /// Ask nothing. Setup has no questions that need root, so this never runs anything privileged
    #[arg(short, long)]
    yes: bool,
    /// Print JSON
    #[arg(long, requires = "check")]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// One backend.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    status: &'static str,
    selected: bool,
    what: &'static str,
    why: Option<String>,
    fix: Option<String>,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let state_dir = application.state_dir()?;
    let engine = application.engine_without_recovery(&state_dir)?;
    let reports = engine.backends().await;
    let entries = entries(&reports);
    let ready = entries.iter().any(|entry| entry.selected);
    if arguments.json {
        let selected = entries.iter().find(|entry| entry.selected).map(|entry| entry.name);
        print_json(&serde_json::json!({ "ready": ready, "selected": selected, "backends": entries }))?;
        return Ok(u8::from(!ready));
    }
    let style = Style::of(&application.environment);
    print_text(&render(&entries, style))?;
    if arguments.check {
        return Ok(u8::from(!ready));
    }
    let selected = reports.iter().find(|report| report.selected);
    prepare(application, &state_dir, selected, style).await
}

/// The order of automatic choice, each with how it stands.
fn entries(reports: &[BackendReport]) -> Vec<Entry> {
    let of = |candidate: &agentkernel_backends::Candidate| {
        let report = reports.iter().find(|report| report.name.as_str() == candidate.name);
        let (status, why, fix) = match report.map(|report| &report.probe) {
            None => ("not in this build", None, None),
            Some(Probe::Ready { detail }) => ("ready", Some(detail.clone()), None),
            Some(Probe::NotReady { why, fix }) => ("not ready", Some(why.clone()), Some(fix.clone())),
        };
        let selected = report.is_some_and(|report| report.selected);
        Entry { name: candidate.name, status, selected, what: candidate.what, why, fix }
    };
    AUTOMATIC_ORDER.iter().map(of).collect()
}

fn render(entries: &[Entry], style: Style) -> String {
    let mut table = Table::new(["BACKEND", "STATUS", "WHAT"]);
    for entry in entries {
        let colour = match entry.status {
            "ready" => Colour::Green,
            "not ready" => Colour::Yellow,
            _ => Colour::Dim,
        };
        table.row([
            (entry.name.to_owned(), None),
            (entry.status.to_owned(), Some(colour)),
            (entry.what.to_owned(), None),
        ]);
    }
    let mut text = table.render(style);
    for entry in entries {
        if let (Some(why), Some(fix)) = (&entry.why, &entry.fix) {
            text.push_str(&format!("{}: {why}\n  fix: {fix}\n", entry.name));
        }
    }
    match entries.iter().find(|entry| entry.selected) {
        Some(entry) => text.push_str(&format!("Selected: {}\n", entry.name)),
        None => text.push_str("Selected: none; run agentkernel doctor\n"),
    }
    text
}

/// Makes the state folder, installs what a first sandbox installs by running one, and names what is missing.
async fn prepare(
    application: &Application,
    state_dir: &Path,
    selected: Option<&BackendReport>,
    style: Style,
) -> Result<u8, CliError> {
    print_text(&format!("State folder: {}\n", state_dir.display()))?;
    let mut works = selected.is_some();
    if works {
        match trial(application).await {
            Ok(time) => print_text(&format!("Trial sandbox: works ({} ms)\n", time.as_millis()))?,
            Err(error) => {
                works = false;
                print_text(&format!("Trial sandbox: failed: {}\n", describe(&error)))?;
            }
        }
    }
    let checks: Vec<Check> = selected.map(|report| missing(report).collect()).unwrap_or_default();
    if !checks.is_empty() {
        print_text(&format!("\nNot possible on this machine yet:\n{}", check_lines(&checks, style)))?;
    }
    if works {
        print_text("\nReady. Try: agentkernel run echo hello\n")?;
    }
    Ok(u8::from(!works))
}

/// Runs `true` in a sandbox as a user would, with the settings that are in effect here.
async fn trial(application: &Application) -> Result<Duration, CliError> {
    let settings = application.settings(None, Overrides::default())?;
    let engine = application.engine_at(&settings.state_dir, settings.backend.as_ref()).await?;
    let backend = engine.select(settings.backend.as_ref()).await?;
    let argv: [ByteString; 1] = ["true".into()];
    let spec = plan_sandbox(&settings, &application.environment, backend.as_ref(), Some(&argv))?.spec;
    let plan = RunPlan {
        spec,
        command: ExecPlan::new(argv),
        files: Vec::new(),
        keep: None,
        name: None,
        config_file: None,
    };
    let started = Instant::now();
    let (execution, ending) = engine.run(plan).await?.into_parts();
    let (mut stdout, mut stderr) = (KeptStream::default(), KeptStream::default());
    let sinks = (Sink::Kept(&mut stdout), Sink::Kept(&mut stderr));
    let outcome = conduct(execution, false, sinks.0, sinks.1).await;
    ending.finish().await?;
    match outcome?.exit_code() {
        0 => Ok(started.elapsed()),
        code => Err(CliError::usage(format!(
            "`true` ended with exit code {code} in the sandbox: {}",
            stderr.content.to_lossy().trim()
        ))),
    }
}
