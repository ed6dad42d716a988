//! `daemon status`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkernel_sdk::{AgentKernel, PoolStatus, Stats};
use serde::Serialize;

use crate::application::Application;
use crate::output::{CliError, describe, print_json, print_text, short_duration};
use crate::serving::{DaemonLock, Holder, log_path, socket_path};

/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The exit code where none runs, as of the status action of init scripts (Linux Standard Base, "Init Script Actions").
const NOT_RUNNING: u8 = 3;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel daemon status
  agentkernel daemon status --json

Exit code 3 where none runs. --json prints {running, pid, socket, log, version, problem, stats, pool}; stats
and pool are what GET /stats and GET /pool answer.")]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What is known of it.
#[derive(Serialize)]
struct Status {
    running: bool,
    pid: Option<u32>,
    socket: PathBuf,
    log: PathBuf,
    version: Option<String>,
    /// Why it runs and doesn't answer.
    problem: Option<String>,
    stats: Option<Stats>,
    pool: Option<PoolStatus>,
}

/// Runs it.
pub(crate) async fn run(arguments: &Args, application: &Application) -> Result<u8, CliError> {
    let state_dir = application.state_dir()?;
    let look = |source| CliError::io("look at the daemon's lock", source);
    let holder = DaemonLock::holder(&state_dir).map_err(look)?;
    let status = status(&state_dir, holder).await?;
    if arguments.json {
        print_json(&status)?;
    } else {
        print_text(&text(&status))?;
    }
    Ok(if status.running { 0 } else { NOT_RUNNING })
}

async fn status(state_dir: &Path, holder: Option<Holder>) -> Result<Status, CliError> {
    let socket = socket_path(state_dir);
    let mut status = Status {
        running: holder.is_some(),
        pid: holder.and_then(|holder| holder.pid),
        socket: socket.clone(),
        log: log_path(state_dir),
        version: None,
        problem: None,
        stats: None,
        pool: None,
    };
    if status.running {
        let client = AgentKernel::unix(socket).timeout(ANSWER).build()?;
        let asked = async {
            status.version = Some(client.version().await?.version);
            status.stats = Some(client.stats().await?);
            status.pool = Some(client.pool().await?);
            Ok::<_, agentkernel_sdk::Error>(())
        };
        let failed = asked.await.err();
        status.problem = failed.map(|error| format!("it doesn't answer: {}", describe(&error)));
    }
    Ok(status)
}

fn text(status: &Status) -> String {
    if !status.running {
        return "no daemon runs; start one with: agentkernel daemon start\n".to_owned();
    }
    let mut rows = vec![("process", status.pid.map_or("starting".to_owned(), |pid| pid.to_string()))];
    rows.push(("socket", status.socket.display().to_string()));
    if let Some(version) = &status.version {
        rows.push(("version", version.clone()));
    }
    if let Some(stats) = &status.stats {
        rows.push(("up for", short_duration(Duration::from_millis(stats.uptime_ms))));
        rows.push(("commands", format!("{} running, {} ended", stats.running, stats.commands)));
    }
    if let Some(pool) = &status.pool {
        let ready: u32 = pool.templates.iter().map(|kind| kind.ready).sum();
        rows.push(("ready in the pool", format!("{ready} of {} kinds", pool.templates.len())));
    }
    if let Some(problem) = &status.problem {
        rows.push(("problem", problem.clone()));
    }
    rows.iter().map(|(name, value)| format!("{name:<18} {value}\n")).collect()
}
