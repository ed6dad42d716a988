//! `run`: a sandbox for one command.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use agentkernel_backend::Lifetime;
use agentkernel_config::Settings;
use agentkernel_engine::{Engine, EngineError, ExecPlan, ImageChoice, PlanRequest, RunCommand, RunPlan};
use agentkernel_model::{ByteString, Isolation, SandboxName, exit_code as codes};
use serde::Serialize;

use super::Json;
use crate::application::Application;
use crate::arguments::{SandboxFlags, TerminalFlags, parse_duration, terminal_kind};
use crate::output::{Attempt, CliError, exit_code, hint, print_json, report, warn_line};
use crate::progress::Progress;
use crate::session::{Ending, KeptStream, Sink, conduct};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "agentkernel run [OPTIONS] [--] [COMMAND [ARGUMENT]...]",
    after_help = "\
Examples:
  agentkernel run echo hello
  agentkernel run --mount-cwd python3 script.py
  agentkernel run --no-network --memory 1g --timeout 5m -- npm test
  TOKEN=... agentkernel run -e TOKEN --pass-env=LANG ./agent.sh
  agentkernel run -it --mount-cwd=ro bash
  cat data | agentkernel run --profile restrictive -- sort -u > sorted
  agentkernel run --keep --name work make && agentkernel exec work ls
  agentkernel run --image alpine:3.20 -- sh -c 'cat /etc/os-release'
  agentkernel run --image postgres:17 --entrypoint psql -- --version
  agentkernel run --build -- make test

Without --image the host's own system is used where it has the command's program, else the image of
the command's or the project's language (native); containers always start from an image. An image is
fetched once. The command may be left out where a named image has one; its ENTRYPOINT, CMD, ENV,
WORKDIR and USER count as with docker run.

The sandbox lives as long as the command and is removed with everything in it. Standard input is
connected where it is a pipe or a file; from a terminal only with -i. Signals are passed on; a
second Ctrl-C within two seconds kills. Where processes that the command leaves behind hold its
output, it is passed on until they have been silent for half a second; then they end with the
sandbox. --verbose says which backend, image and limits were used.

Exit codes: the command's own; 124 its --timeout passed; 125 agentkernel itself failed; 126 it
can't be executed; 127 it was not found; 128+n it died of signal n."
)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: SandboxFlags,
    #[command(flatten)]
    terminal: TerminalFlags,
    /// Kill the command after this time: 500ms, 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Command")]
    timeout: Option<Duration>,
    /// Program to run instead of the image's entrypoint; '' for none
    #[arg(long, value_name = "PROGRAM", help_heading = "Command")]
    entrypoint: Option<OsString>,
    /// Name of the sandbox while it runs [default: none]
    #[arg(long, value_name = "NAME", help_heading = "Sandbox")]
    name: Option<SandboxName>,
    /// Keep the sandbox after the command has ended
    #[arg(short, long, help_heading = "Sandbox")]
    keep: bool,
    /// Print one JSON document with the outcome and the output instead of passing the output on
    #[arg(long, conflicts_with = "tty", help_heading = "Command")]
    json: bool,
    /// The command and its arguments; can be left out where the image names one
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    ending: Ending<'a>,
    backend: &'a str,
    isolation: &'a Isolation,
    sandbox: Option<&'a SandboxName>,
    image: &'a ImageChoice,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let mut settings =
        application.settings(arguments.flags.config.as_deref(), arguments.flags.overrides()?)?;
    let (name, keep) = names(&arguments)?;
    // The file's name is for the sandbox that `create` makes; two runs at once must not meet in it.
    settings.name = keep.clone().or_else(|| name.clone());
    let words: Vec<ByteString> = arguments.command.iter().cloned().map(ByteString::from).collect();
    let entrypoint = arguments.entrypoint.as_ref().map(entrypoint);
    refuse_nothing(&settings, &words, entrypoint.as_deref())?;
    let tty = arguments.terminal.size(&application.environment)?;
    let engine = application.engine_with(&settings).await?;
    let backend = engine.select(settings.backend.as_ref()).await?;
    let progress = Progress::new(&application.environment);
    let request = PlanRequest {
        settings: &settings,
        environment: &application.environment,
        backend: backend.as_ref(),
        lifetime: if keep.is_some() || name.is_some() { Lifetime::Persistent } else { Lifetime::Ephemeral },
        command: Some(RunCommand { entrypoint: entrypoint.as_deref(), words: &words }),
        progress: &progress,
    };
    let planned = engine.plan(&request).await;
    drop(progress);
    let planned = match planned {
        Err(error) => return without_image(error.into(), &words, &settings, &arguments, application),
        Ok(planned) => planned,
    };
    let argv = planned.argv;
    if application.verbose {
        planned.notes.iter().for_each(|note| warn_line(&format!("agentkernel: {note}")));
    }
    let cwd = &application.environment.cwd;
    let sees_cwd = planned.spec.mounts.iter().any(|mount| cwd.starts_with(&mount.source));
    let names_terminal = planned.spec.env.iter().any(|variable| variable.name.as_bytes() == b"TERM");
    let plan = RunPlan {
        spec: planned.spec,
        command: ExecPlan {
            env: if names_terminal {
                Vec::new()
            } else {
                terminal_kind(tty, &application.environment).into_iter().collect()
            },
            stdin: arguments.terminal.stdin(),
            tty,
            timeout: arguments.timeout,
            ..ExecPlan::new(argv.iter().cloned())
        },
        files: settings.files.clone(),
        keep,
        name,
        warm: true,
        config_file: settings.config_file.clone(),
    };
    let result = conduct_run(&engine, plan, &planned.image, &arguments, application).await;
    if arguments.json || !application.hints() {
        return result;
    }
    let exit_code = result.as_ref().map_or_else(exit_code, |code| *code);
    let (toolchains, timeout) = (settings.toolchains, arguments.timeout);
    let attempt = Attempt { argv: &argv, exit_code, toolchains, sees_cwd, timeout };
    let Some(advice) = hint(&attempt, &application.environment) else { return result };
    if let Err(error) = &result {
        report(error, false);
    }
    warn_line(&format!("agentkernel: {advice}"));
    Ok(exit_code)
}

/// A program that the host has in a place of its own needs no image.
fn without_image(
    error: CliError,
    words: &[ByteString],
    settings: &Settings,
    arguments: &Args,
    application: &Application,
) -> Result<u8, CliError> {
    let missing = matches!(error, CliError::Engine(EngineError::NoImage { .. }));
    if !missing || settings.image.is_some() || arguments.json || !application.hints() {
        return Err(error);
    }
    let toolchains = settings.toolchains;
    let attempt =
        Attempt { argv: words, exit_code: codes::NOT_FOUND, toolchains, sees_cwd: true, timeout: None };
    let Some(advice) = hint(&attempt, &application.environment) else { return Err(error) };
    report(&error, false);
    warn_line(&format!("agentkernel: {advice}"));
    Ok(exit_code(&error))
}

/// One word, as `docker run` has it; an empty one is no entrypoint at all.
fn entrypoint(program: &OsString) -> Vec<ByteString> {
    if program.is_empty() { Vec::new() } else { vec![program.clone().into()] }
}

/// Without a command something must be named that may have one: what was only found is no word of the user's.
fn refuse_nothing(
    settings: &Settings,
    words: &[ByteString],
    entrypoint: Option<&[ByteString]>,
) -> Result<(), CliError> {
    let names_image = settings.image.as_ref().is_some_and(|image| !image.is_host());
    let named = names_image || settings.build.is_some() || entrypoint.is_some_and(|words| !words.is_empty());
    if !words.is_empty() || named {
        return Ok(());
    }
    Err(CliError::usage(
        "a COMMAND is needed: agentkernel run COMMAND, or --image with an image that has one of its own",
    ))
}

/// The name while it runs, and the name it is kept under.
fn names(arguments: &Args) -> Result<(Option<SandboxName>, Option<SandboxName>), CliError> {
    match (&arguments.name, arguments.keep) {
        (name, false) => Ok((name.clone(), None)),
        (Some(name), true) => Ok((None, Some(name.clone()))),
        (None, true) => {
            let mut random = [0; 4];
            rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())
                .map_err(|error| CliError::io("make a name for the sandbox", error.into()))?;
            let name = format!("run-{:08x}", u32::from_ne_bytes(random));
            let name = name.parse().map_err(|error| CliError::usage(format!("{error}")))?;
            Ok((None, Some(name)))
        }
    }
}

async fn conduct_run(
    engine: &Engine,
    plan: RunPlan,
    image: &ImageChoice,
    arguments: &Args,
    application: &Application,
) -> Result<u8, CliError> {
    let started = Instant::now();
    let terminal = plan.command.tty.is_some();
    let kept = plan.keep.clone();
    let running = engine.run(plan).await?;
    if application.verbose {
        let warm = if running.warm { "taken from the daemon's pool" } else { "started for this run" };
        warn_line(&format!("agentkernel: sandbox: {warm}"));
        warn_line(&format!("agentkernel: isolation: {}", running.isolation));
        running.published.iter().for_each(|port| warn_line(&format!("agentkernel: published: {port}")));
    }
    let (isolation, sandbox) = (running.isolation.clone(), running.sandbox.clone());
    let (execution, ending) = running.into_parts();
    let (mut stdout, mut stderr) = (KeptStream::default(), KeptStream::default());
    let sinks = match arguments.json {
        true => (Sink::Kept(&mut stdout), Sink::Kept(&mut stderr)),
        false => (Sink::Stdout, Sink::Stderr),
    };
    let outcome = {
        let _raw = arguments.terminal.raw()?;
        conduct(execution, terminal, sinks.0, sinks.1).await
    };
    let duration = started.elapsed();
    // The box goes first: nothing of it may stay, whatever became of the command.
    ending.finish().await?;
    let outcome = outcome?;
    if arguments.json {
        print_json(&Document {
            ending: Ending::new(outcome, &stdout, &stderr, duration),
            backend: isolation.backend.as_str(),
            isolation: &isolation,
            sandbox: sandbox.as_ref(),
            image,
        })?;
    } else if let Some(name) = kept
        && application.hints()
    {
        warn_line(&format!(
            "agentkernel: kept sandbox {name}; remove it with: agentkernel remove --force {name}"
        ));
    }
    Ok(outcome.exit_code())
}
