//! `stats`.

use std::path::Path;
use std::time::Duration;

use agentkernel_sdk::{AgentKernel, Error, Stats};

use super::Json;
use crate::application::Application;
use crate::output::{CliError, print_json, print_text, short_duration};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel stats
  agentkernel stats --json
  AGENTKERNEL_API_KEY=KEY agentkernel stats --url http://10.0.0.1:18888

Without --url the daemon of this state directory is asked. --json prints what GET /stats answers.")]
pub(crate) struct Args {
    /// The server to ask, instead of the daemon; its key is read from AGENTKERNEL_API_KEY
    #[arg(long, value_name = "URL")]
    url: Option<String>,
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
    let stats = match &arguments.url {
        Some(url) => {
            let read = |name: &str| application.environment.var(name)?.to_str().map(str::to_owned);
            AgentKernel::builder().base_url(url).variables(read).build()?.stats().await?
        }
        None => of_daemon(&application.state_dir()?).await?,
    };
    if arguments.json {
        print_json(&stats)?;
    } else {
        print_text(&table(&stats))?;
    }
    Ok(0)
}

async fn of_daemon(state_dir: &Path) -> Result<Stats, CliError> {
    let socket = state_dir.join("daemon/agentkernel.sock");
    let client = AgentKernel::unix(&socket).build()?;
    client.stats().await.map_err(|error| match error {
        Error::Connect { .. } => CliError::usage(format!(
            "no daemon answers at {}: start one with `agentkernel daemon start`, or name a server with --url",
            socket.display()
        )),
        other => other.into(),
    })
}

fn table(stats: &Stats) -> String {
    let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
    let rows = [
        ("up for", short_duration(Duration::from_millis(stats.uptime_ms))),
        ("memory", format!("{:.1} MiB", stats.resident_bytes as f64 / f64::from(1 << 20))),
        ("open files", stats.open_files.to_string()),
        ("requests", format!("{}, {} refused", stats.requests, stats.denied)),
        (
            "commands",
            format!("{} running, {} waiting, {} ended", stats.running, stats.queued, stats.commands),
        ),
        ("warm", format!("{} ({:.0}%)", stats.warm, share(stats.warm, stats.commands))),
        ("run", format!("median {:.2} ms, 99% within {:.2} ms", stats.run_p50_ms, stats.run_p99_ms)),
        ("sandboxes", stats.sandboxes.to_string()),
        ("ready in the pool", stats.pooled.to_string()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<18} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_no_daemon_is_the_message_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let text = of_daemon(folder.path()).await.unwrap_err().to_string();
        assert!(
            text.contains("daemon/agentkernel.sock") && text.contains("agentkernel daemon start"),
            "{text}"
        );
    }

    #[test]
    fn the_share_of_warm_ones_is_of_all_and_none_of_none_is_none() {
        let text = table(&Stats { warm: 3, commands: 4, ..Stats::default() });
        assert!(text.contains("warm               3 (75%)\n"), "{text}");
        assert!(table(&Stats::default()).contains("0 (0%)"));
    }
}
