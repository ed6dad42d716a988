//! `ps`.

use agentkernel_backend::{ExecutionInfo, ExecutionState, ProcessInfo};
use agentkernel_model::{ByteString, Outcome, SandboxName};

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
attach take, and all processes. --json prints {commands, processes}.")]
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

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let (_, guest) = application.engine().await?.guest(&arguments.name).await?;
    let commands = guest.executions().await?;
    let processes = guest.processes().await?;
    if arguments.json {
        print_json(&serde_json::json!({ "commands": commands, "processes": processes }))?;
        return Ok(0);
    }
    let style = Style::of(&application.environment);
    let tables =
        format!("{}\n{}", command_table(&commands).render(style), process_table(&processes).render(style));
    print_text(&tables)?;
    Ok(0)
}

fn command_table(commands: &[ExecutionInfo]) -> Table {
    let mut table = Table::new(["ID", "STATE", "DETACHED", "PID", "AGE", "COMMAND"]);
    for command in commands {
        let (state, colour) = match command.state {
            ExecutionState::Running => ("running".to_owned(), Some(Colour::Green)),
            ExecutionState::Ended(Outcome::Exited(code)) => (format!("exited {code}"), None),
            ExecutionState::Ended(Outcome::Signaled(signal)) => (signal.to_string(), Some(Colour::Yellow)),
            ExecutionState::Ended(Outcome::TimedOut) => ("timed out".to_owned(), Some(Colour::Yellow)),
            ExecutionState::Ended(Outcome::BoxEnded) => ("box ended".to_owned(), Some(Colour::Yellow)),
        };
        let words: Vec<String> = command.argv.iter().map(ByteString::to_lossy).collect();
        table.row([
            (command.id.to_string(), None),
            (state, colour),
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
