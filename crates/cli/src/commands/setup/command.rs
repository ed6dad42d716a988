//! `setup`: prepare what can be prepared without root, try a sandbox, and say what an administrator could add.

use std::path::Path;
use std::time::{Duration, Instant};

use agentkernel_backend::Probe;
use agentkernel_backends::AUTOMATIC_ORDER;
use agentkernel_backends::provision::PartState;
use agentkernel_config::{Overrides, Settings};
use agentkernel_engine::{ExecPlan, PlanRequest, RunCommand, RunPlan};
use agentkernel_model::ByteString;
use serde::Serialize;

use super::firecracker;
use crate::application::Application;
use crate::commands::Json;
use crate::commands::doctor::{
    Check, DefaultRun, Status, Survey, Surveyed, check_lines, default_run, missing, pull_command,
};
use crate::output::{CliError, Colour, Style, Table, describe, print_json, print_text};
use crate::progress::Progress;
use crate::session::{KeptStream, Sink, conduct};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  agentkernel setup
  agentkernel setup --check
  agentkernel setup --check --json
  agentkernel setup firecracker --from /media/usb/firecracker

Without the name of a part, nothing is downloaded. Nothing is run as root: what needs root is printed as
a command.
Exit codes: 0 agentkernel run COMMAND works with the settings in effect; 1 it would be refused: no
backend is ready, or the one that is used can't do what the settings ask for.
--check --json prints {ready, selected, because, why, fix, backends: [{name, status, selected,
default_run, what, detail, why, fix}]}; default_run is works, refused or null."
)]
pub(crate) struct Args {
    /// Only say which backends are ready, which is used, and whether it does what the settings ask for; changes nothing
    #[arg(long)]
    check: bool,
    /// Ask nothing. Setup has no questions that need root, so this never runs anything privileged
    #[arg(short, long)]
    yes: bool,
    /// Print JSON
    #[arg(long, requires = "check")]
    json: bool,
    #[command(subcommand)]
    part: Option<PartArgs>,
}

/// A part that has a setup of its own.
#[derive(Debug, clap::Subcommand)]
enum PartArgs {
    /// Install Firecracker, its jailer and a guest kernel, or say what is missing
    Firecracker(firecracker::Args),
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// One backend.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'static str,
    status: &'static str,
    /// Whether sandboxes are made with it where none is named on the command line.
    selected: bool,
    /// What becomes of a run without flags; null where it can't be told.
    default_run: Option<&'static str>,
    what: &'static str,
    /// What a backend that is ready says of itself.
    detail: Option<&'a str>,
    why: Option<&'a str>,
    fix: Option<&'a str>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    ready: bool,
    selected: Option<&'a str>,
    because: Option<String>,
    why: Option<&'a str>,
    fix: Option<&'a str>,
    backends: &'a [Entry<'a>],
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    if let Some(PartArgs::Firecracker(arguments)) = arguments.part {
        return firecracker::run(arguments, application).await;
    }
    let state_dir = application.state_dir()?;
    let settings = application.settings(None, Overrides::default())?;
    let survey = Survey::make(application, &state_dir, Some(&settings)).await?;
    let entries = entries(&survey);
    let verdict = default_run(&survey);
    let ready = verdict.status == Status::Ok;
    if arguments.json {
        let used = survey.used();
        print_json(&Document {
            ready,
            selected: used.map(|used| used.report.name.as_str()),
            because: used.map(|_| survey.because()),
            why: (!ready).then_some(verdict.what.as_str()),
            fix: verdict.fix.as_deref(),
            backends: &entries,
        })?;
        return Ok(u8::from(!ready));
    }
    let style = Style::of(&application.environment);
    print_text(&render(&entries, &verdict, style))?;
    if arguments.check {
        return Ok(u8::from(!ready));
    }
    prepare(application, &state_dir, &settings, &survey, style).await
}

/// The order of automatic choice, each with how it stands.
fn entries(survey: &Survey) -> Vec<Entry<'_>> {
    let of = |candidate: &agentkernel_backends::Candidate| {
        let found = survey.backends.iter().find(|backend| backend.report.name.as_str() == candidate.name);
        let mut entry = Entry {
            name: candidate.name,
            status: "not in this build",
            selected: found.is_some_and(|found| found.used),
            default_run: None,
            what: candidate.what,
            detail: None,
            why: None,
            fix: None,
        };
        let Some(found) = found else { return entry };
        match &found.report.probe {
            Probe::NotReady { why, fix } => {
                entry.status = "not ready";
                (entry.why, entry.fix) = (Some(why.as_str()), Some(fix.as_str()));
            }
            Probe::Ready { detail } => {
                entry.status = "ready";
                entry.detail = Some(detail);
            }
        }
        match &found.default_run {
            Some(DefaultRun::Refused { why, fix }) => {
                entry.default_run = Some("refused");
                (entry.why, entry.fix) = (Some(why.as_str()), Some(fix.as_str()));
            }
            Some(DefaultRun::Works { .. }) => entry.default_run = Some("works"),
            None => {}
        }
        entry
    };
    AUTOMATIC_ORDER.iter().map(of).collect()
}

fn render(entries: &[Entry<'_>], verdict: &Check, style: Style) -> String {
    let mut table = Table::new(["BACKEND", "STATUS", "DEFAULT RUN", "WHAT"]);
    for entry in entries {
        let colour = match (entry.status, entry.default_run) {
            ("ready", Some("refused")) | ("not ready", _) => Colour::Yellow,
            ("ready", _) => Colour::Green,
            _ => Colour::Dim,
        };
        table.row([
            (entry.name.to_owned(), None),
            (entry.status.to_owned(), Some(colour)),
            (entry.default_run.unwrap_or("-").to_owned(), Some(colour)),
            (entry.what.to_owned(), None),
        ]);
    }
    let mut text = table.render(style);
    for entry in entries.iter().filter(|entry| !entry.selected) {
        if let (Some(why), Some(fix)) = (entry.why, entry.fix) {
            text.push_str(&format!("{}: {why}\n  fix: {fix}\n", entry.name));
        }
    }
    text.push_str(&format!("Default run: {}\n", verdict.what));
    if let Some(fix) = &verdict.fix {
        text.push_str(&format!("  fix: {fix}\n"));
    }
    text
}

/// Makes the state folder, installs what a first sandbox installs by running one, and names what is missing.
async fn prepare(
    application: &Application,
    state_dir: &Path,
    settings: &Settings,
    survey: &Survey,
    style: Style,
) -> Result<u8, CliError> {
    print_text(&format!("State folder: {}\n", state_dir.display()))?;
    let mut works = survey.used().is_some_and(Surveyed::works);
    if let Some((used, image)) = survey.used().and_then(|used| Some((used, used.fetches()?))) {
        print_text(&format!(
            "Trial sandbox: not made, because image {image} isn't here; the first run fetches it, or fetch it now with: \
             {}\n",
            pull_command(&used.report.name, image)
        ))?;
    } else if works {
        match trial(application, settings).await {
            Ok(time) => print_text(&format!("Trial sandbox: works ({} ms)\n", time.as_millis()))?,
            Err(error) => {
                works = false;
                print_text(&format!("Trial sandbox: failed: {}\n", describe(&error)))?;
            }
        }
    }
    let checks: Vec<Check> = survey.used().map(|used| missing(&used.report).collect()).unwrap_or_default();
    if !checks.is_empty() {
        print_text(&format!("\nNot possible on this machine yet:\n{}", check_lines(&checks, style)))?;
    }
    if works {
        print_text("\nReady. Try: agentkernel run echo hello\n")?;
    }
    Ok(u8::from(!works))
}

/// Each thing that machines are made with, as a check.
pub(super) fn part_lines(parts: &[PartState], style: Style) -> String {
    let of = |part: &PartState| match &part.state {
        Ok(detail) => Check::ok(part.name, detail),
        Err((why, fix)) => Check::fail(part.name, why, fix),
    };
    check_lines(&parts.iter().map(of).collect::<Vec<_>>(), style)
}

/// Runs `true` in a sandbox as a user would, with the settings that are in effect here.
async fn trial(application: &Application, settings: &Settings) -> Result<Duration, CliError> {
    let engine = application.engine_with(settings).await?;
    let backend = engine.select(settings.backend.as_ref()).await?;
    let argv: [ByteString; 1] = ["true".into()];
    let request = PlanRequest {
        settings,
        environment: &application.environment,
        backend: backend.as_ref(),
        lifetime: agentkernel_backend::Lifetime::Ephemeral,
        command: Some(RunCommand { entrypoint: None, words: &argv }),
        progress: &Progress::new(&application.environment),
    };
    let spec = engine.plan(&request).await?.spec;
    let plan = RunPlan {
        spec,
        command: ExecPlan::new(argv),
        files: Vec::new(),
        keep: None,
        name: None,
        warm: true,
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
