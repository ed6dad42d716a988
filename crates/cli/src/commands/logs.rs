//! `logs`.

use agentkernel_backend::{ExecutionInfo, ExecutionState, Guest, LogRead};
use agentkernel_model::{ByteString, ExecId, SandboxName};
use serde::Serialize;

use super::Json;
use super::missing_command::{Wish, explain};
use crate::application::Application;
use crate::output::{CliError, print_json, warn_line};
use crate::session::{KeptStream, Sink, pump_log};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel logs work
  agentkernel logs work a1b2c3 --follow
  agentkernel logs work a1b2c3 --offset 4096 --json

Without ID: the detached command that was started last. Logs stay until
the sandbox is removed, over its stop and start: those of the 256 commands that ended last, 4 GiB in
sum. What ran when the sandbox was stopped counts as killed. --json prints {id, start, next_offset,
state, stdout, stderr, truncated}; give next_offset as --offset to read on from there.")]
pub(crate) struct Args {
    /// Name of the sandbox
    name: SandboxName,
    /// Id of a detached command
    id: Option<ExecId>,
    /// Go on until the command ends
    #[arg(short, long, conflicts_with = "json")]
    follow: bool,
    /// Begin at this byte, counted over standard output and error together
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    offset: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    id: &'a ExecId,
    start: u64,
    next_offset: u64,
    state: ExecutionState,
    stdout: &'a ByteString,
    stderr: &'a ByteString,
    truncated: bool,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let (_, guest) = application.engine_of(&arguments.name).await?.guest(&arguments.name).await?;
    let id = match &arguments.id {
        Some(id) => id.clone(),
        None => latest(guest.as_ref(), &arguments.name).await?,
    };
    let log = match guest.logs(&id, arguments.offset, arguments.follow).await {
        Ok(log) => log,
        Err(error) => {
            return Err(explain(error, Wish::Log, guest.as_ref(), (&arguments.name, &id)).await);
        }
    };
    let LogRead { start, stdout, stderr, state } = log;
    if start > arguments.offset && !arguments.json {
        warn_line(&format!(
            "agentkernel: the output from byte {} to {start} has been dropped",
            arguments.offset
        ));
    }
    if !arguments.json {
        pump_log(stdout, stderr, Sink::Stdout, Sink::Stderr).await?;
        return Ok(0);
    }
    let (mut kept_out, mut kept_err) = (KeptStream::default(), KeptStream::default());
    let read = pump_log(stdout, stderr, Sink::Kept(&mut kept_out), Sink::Kept(&mut kept_err)).await?;
    print_json(&Document {
        id: &id,
        start,
        next_offset: start + read,
        state,
        stdout: &kept_out.content,
        stderr: &kept_err.content,
        truncated: kept_out.truncated || kept_err.truncated,
    })?;
    Ok(0)
}

/// The youngest detached command.
async fn latest(guest: &dyn Guest, name: &SandboxName) -> Result<ExecId, CliError> {
    let all = guest.executions().await?;
    let detached = all.into_iter().filter(|execution: &ExecutionInfo| execution.detached);
    detached.min_by_key(|execution| execution.age).map(|execution| execution.id).ok_or_else(|| {
        CliError::usage(format!(
            "sandbox {name} has no detached command; start one with: agentkernel exec --detach {name} COMMAND"
        ))
    })
}
