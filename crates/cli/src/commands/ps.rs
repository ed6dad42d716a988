//! `ps`.

use agentkernel_backend::{ExecutionInfo, ExecutionState, ProcessInfo};
use agentkernel_model::{ByteString, ExecId, Outcome, SandboxName};
use serde::Serialize;

use super::Json;
use crate::application::Application;
use crate::output::{CliError, Colour, Style, Table, print_json, print_text, short_duration};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel ps work
  agentkernel ps work --json

Two tables: the commands that were started by run and exec, with the ids that logs, kill and
attach take, and all processes: agentkernel-agent is the sandbox's own first process, and once more
beside each command. --json prints {commands: [{id, argv, pid, detached, state, age_ms}],
processes: [{pid, parent, uid, state, resident_bytes, cpu_time_ms, command}]}.")]
pub(crate) struct Args {
    /// Name of the sandbox
    name: SandboxName,
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
    commands: Vec<CommandEntry<'a>>,
    processes: Vec<ProcessEntry<'a>>,
}

/// One command in it. Times are in milliseconds, as everywhere.
#[derive(Serialize)]
struct CommandEntry<'a> {
    id: &'a ExecId,
    argv: &'a [ByteString],
    pid: u32,
    detached: bool,
    state: ExecutionState,
    age_ms: u128,
}

/// One process in it.
#[derive(Serialize)]
struct ProcessEntry<'a> {
    pid: u32,
    parent: u32,
    uid: u32,
    state: char,
    resident_bytes: u64,
    cpu_time_ms: u128,
    command: &'a ByteString,
}

impl<'a> Document<'a> {
    fn new(commands: &'a [ExecutionInfo], processes: &'a [ProcessInfo]) -> Self {
        let command = |command: &'a ExecutionInfo| CommandEntry {
            id: &command.id,
            argv: &command.argv,
            pid: command.pid,
            detached: command.detached,
            state: command.state,
            age_ms: command.age.as_millis(),
        };
        let process = |process: &'a ProcessInfo| ProcessEntry {
            pid: process.pid,
            parent: process.parent,
            uid: process.uid,
            state: process.state,
            resident_bytes: process.resident_bytes,
            cpu_time_ms: process.cpu_time.as_millis(),
            command: &process.command,
        };
        Self {
            commands: commands.iter().map(command).collect(),
            processes: processes.iter().map(process).collect(),
        }
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let (_, guest) = application.engine_of(&arguments.name).await?.guest(&arguments.name).await?;
    let commands = guest.executions().await?;
    let processes = guest.processes().await?;
    if arguments.json {
        print_json(&Document::new(&commands, &processes))?;
        return Ok(0);
    }
    let style = Style::of(&application.environment);
    let tables =
        format!("{}\n{}", command_table(&commands).render(style), process_table(&processes).render(style));
    print_text(&tables)?;
    Ok(0)
}

/// `running`, `exited 0`, `SIGTERM`.
pub(super) fn state_in_words(state: ExecutionState) -> String {
    match state {
        ExecutionState::Running => "running".to_owned(),
        ExecutionState::Ended(Outcome::Exited(code)) => format!("exited {code}"),
        ExecutionState::Ended(Outcome::Signaled(signal)) => signal.to_string(),
        ExecutionState::Ended(Outcome::TimedOut) => "timed out".to_owned(),
        ExecutionState::Ended(Outcome::BoxEnded) => "box ended".to_owned(),
    }
}

fn command_table(commands: &[ExecutionInfo]) -> Table {
    let mut table = Table::new(["ID", "STATE", "DETACHED", "PID", "AGE", "COMMAND"]);
    for command in commands {
        let colour = match command.state {
            ExecutionState::Running => Some(Colour::Green),
            ExecutionState::Ended(Outcome::Exited(_)) => None,
            ExecutionState::Ended(_) => Some(Colour::Yellow),
        };
        let words: Vec<String> = command.argv.iter().map(ByteString::to_lossy).collect();
        table.row([
            (command.id.to_string(), None),
            (state_in_words(command.state), colour),
            (if command.detached { "yes" } else { "no" }.to_owned(), None),
            (command.pid.to_string(), None),
            (short_duration(command.age), None),
            (words.join(" "), None),
        ]);
    }
    table
}

fn process_table(processes: &[ProcessInfo]) -> Table {
    let mut table = Table::new(["PID", "PARENT", "UID", "STATE", "MEMORY", "CPU", "COMMAND"]);
    for process in processes {
        table.row([
            (process.pid.to_string(), None),
            (process.parent.to_string(), None),
            (process.uid.to_string(), None),
            (process.state.to_string(), None),
            (format!("{} KiB", process.resident_bytes / 1024), None),
            (format!("{:.2}s", process.cpu_time.as_secs_f64()), None),
            (process.command.to_lossy(), None),
        ]);
    }
    table
}
