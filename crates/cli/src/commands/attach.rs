//! `attach`: a shell in a sandbox, or the output of a detached command.

use std::ffi::OsString;

use agentkernel_backend::{ExecutionState, Guest, LogRead};
use agentkernel_engine::ExecPlan;
use agentkernel_model::{BoxPath, ExecId, SandboxName, UserSpec};

use super::Json;
use super::missing_command::{Wish, explain};
use crate::application::Application;
use crate::arguments::{TerminalFlags, caller_env, terminal_kind};
use crate::output::{CliError, warn_line};
use crate::session::{Sink, conduct, pump_log};

/// The best shell there is, without asking the sandbox first.
const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel attach work
  agentkernel attach work -e ANTHROPIC_API_KEY
  echo 'make test' | agentkernel attach work
  agentkernel attach work a1b2c3

Without ID: a shell (bash, else sh), on a terminal where standard input is one. With ID: the
output of that detached command from its beginning until it ends, and its exit code; Ctrl-C leaves
it running.")]
pub(crate) struct Args {
    /// Name of the sandbox
    name: SandboxName,
    /// Id of a detached command
    #[arg(conflicts_with_all = ["env", "workdir", "user"])]
    id: Option<ExecId>,
    /// Environment variable; NAME alone takes your value, which keeps it out of argument lists; may be repeated
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Folder in the sandbox where the shell starts
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<BoxPath>,
    /// User in the sandbox: NAME, UID, NAME:GROUP or UID:GID
    #[arg(short, long, value_name = "USER")]
    user: Option<UserSpec>,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    match &arguments.id {
        None => shell(&arguments, application).await,
        Some(id) => {
            let (_, guest) = application.engine_of(&arguments.name).await?.guest(&arguments.name).await?;
            follow(guest.as_ref(), &arguments.name, id).await
        }
    }
}

async fn shell(arguments: &Args, application: &Application) -> Result<u8, CliError> {
    let terminal = TerminalFlags { interactive: true, tty: application.environment.interactive_stdin };
    let tty = terminal.size(&application.environment)?;
    let plan = ExecPlan {
        // The later wins: a TERM given with -e.
        env: terminal_kind(tty, &application.environment)
            .into_iter()
            .chain(caller_env(&arguments.env, &application.environment)?)
            .collect(),
        workdir: arguments.workdir.clone(),
        user: arguments.user.clone(),
        stdin: terminal.stdin(),
        tty,
        ..ExecPlan::new(["/bin/sh", "-c", SHELL])
    };
    let execution = application.engine_of(&arguments.name).await?.exec(&arguments.name, plan).await?;
    let _raw = terminal.raw()?;
    let outcome = conduct(execution, terminal.tty, Sink::Stdout, Sink::Stderr).await?;
    Ok(outcome.exit_code())
}

async fn follow(guest: &dyn Guest, name: &SandboxName, id: &ExecId) -> Result<u8, CliError> {
    let log = match guest.logs(id, 0, true).await {
        Ok(log) => log,
        Err(error) => return Err(explain(error, Wish::Log, guest, (name, id)).await),
    };
    let LogRead { start, stdout, stderr, state } = log;
    if start > 0 {
        warn_line(&format!("agentkernel: the first {start} bytes of its output have been dropped"));
    }
    pump_log(stdout, stderr, Sink::Stdout, Sink::Stderr).await?;
    match state {
        ExecutionState::Ended(outcome) => Ok(outcome.exit_code()),
        ExecutionState::Running => Ok(guest.wait(id).await?.exit_code()),
    }
}
