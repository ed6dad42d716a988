//! `exec`: another command in a running sandbox.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use agentkernel_engine::{Engine, ExecPlan};
use agentkernel_model::{BoxPath, ByteString, Mib, SandboxName, UserSpec};
use serde::Serialize;

use super::Json;
use crate::application::Application;
use crate::arguments::{TerminalFlags, caller_env, parse_duration, terminal_kind};
use crate::output::{CliError, print_json, print_text};
use crate::session::{Ending, KeptStream, Sink, conduct};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "agentkernel exec [OPTIONS] NAME [--] COMMAND [ARGUMENT]...",
    after_help = "\
Examples:
  agentkernel exec work ls -la
  agentkernel exec -e TOKEN -w /tmp work -- ./script.sh
  tar c src | agentkernel exec work tar x
  agentkernel exec -it work bash
  id=$(agentkernel exec --detach work ./server) && agentkernel logs work $id --follow

The sandbox must run: agentkernel start NAME. Standard input is connected where it is a pipe or a
file; from a terminal only with -i. A detached command outlives this one; see ps, logs, kill and
attach. Where processes that the command leaves behind hold its output, it is passed on until they
have been silent for half a second; they live on in the sandbox.

Exit codes: the command's own; 124 its --timeout passed; 125 agentkernel itself failed; 126 it
can't be executed; 127 it was not found; 128+n it died of signal n."
)]
pub(crate) struct Args {
    #[command(flatten)]
    terminal: TerminalFlags,
    /// Environment variable; NAME alone takes your value, which keeps it out of argument lists; may be repeated
    #[arg(short, long = "env", value_name = "NAME[=VALUE]", help_heading = "Command")]
    env: Vec<OsString>,
    /// Folder in the sandbox where it starts
    #[arg(short, long, value_name = "PATH", help_heading = "Command")]
    workdir: Option<BoxPath>,
    /// User in the sandbox: NAME, UID, NAME:GROUP or UID:GID
    #[arg(short, long, value_name = "USER", help_heading = "Command")]
    user: Option<UserSpec>,
    /// Kill it after this time: 500ms, 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Command")]
    timeout: Option<Duration>,
    /// Start it in the background, with a log, and print its id
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"], help_heading = "Command")]
    detach: bool,
    /// Size of a detached command's log: 512, 16m, 1g (a bare number is MiB); the oldest output is dropped
    #[arg(long, value_name = "SIZE", default_value = "16m", help_heading = "Command")]
    log_limit: Mib,
    /// Print one JSON document with the outcome and the output, or the id of a detached command
    #[arg(long, conflicts_with = "tty", help_heading = "Command")]
    json: bool,
    /// Name of the sandbox
    name: SandboxName,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
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
    sandbox: &'a SandboxName,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let tty = arguments.terminal.size(&application.environment)?;
    let plan = ExecPlan {
        // The later wins: a TERM given with -e.
        env: terminal_kind(tty, &application.environment)
            .into_iter()
            .chain(caller_env(&arguments.env, &application.environment)?)
            .collect(),
        workdir: arguments.workdir.clone(),
        user: arguments.user.clone(),
        stdin: !arguments.detach && arguments.terminal.stdin(),
        tty,
        timeout: arguments.timeout,
        detached_log_limit: arguments.detach.then(|| arguments.log_limit.bytes()),
        ..ExecPlan::new(arguments.command.iter().cloned().map(ByteString::from))
    };
    let engine = application.engine_of(&arguments.name).await?;
    if arguments.detach {
        detached(&engine, plan, &arguments).await
    } else {
        joined(&engine, plan, &arguments).await
    }
}

async fn detached(engine: &Engine, plan: ExecPlan, arguments: &Args) -> Result<u8, CliError> {
    let execution = engine.exec(&arguments.name, plan).await?;
    if arguments.json {
        print_json(&serde_json::json!({ "id": execution.id, "sandbox": arguments.name }))?;
    } else {
        print_text(&format!("{}\n", execution.id))?;
    }
    Ok(0)
}

async fn joined(engine: &Engine, plan: ExecPlan, arguments: &Args) -> Result<u8, CliError> {
    let started = Instant::now();
    let terminal = plan.tty.is_some();
    let execution = engine.exec(&arguments.name, plan).await?;
    let (mut stdout, mut stderr) = (KeptStream::default(), KeptStream::default());
    let sinks = match arguments.json {
        true => (Sink::Kept(&mut stdout), Sink::Kept(&mut stderr)),
        false => (Sink::Stdout, Sink::Stderr),
    };
    let outcome = {
        let _raw = arguments.terminal.raw()?;
        conduct(execution, terminal, sinks.0, sinks.1).await?
    };
    if arguments.json {
        print_json(&Document {
            ending: Ending::new(outcome, &stdout, &stderr, started.elapsed()),
            sandbox: &arguments.name,
        })?;
    }
    Ok(outcome.exit_code())
}
