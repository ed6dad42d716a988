//! `mcp-server`: the Model Context Protocol on standard input and output, for agents that start it themselves.

use std::path::PathBuf;

use agentkernel_mcp::McpSettings;
use agentkernel_service::{Caller, Scope};
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use super::Json;
use crate::application::Application;
use crate::output::CliError;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claude mcp add agentkernel -- agentkernel mcp-server
  codex mcp add agentkernel -- agentkernel mcp-server
  gemini mcp add agentkernel agentkernel mcp-server
  agentkernel mcp-server --scope read

An agent starts this program and speaks JSON-RPC with it, a message a line. Standard output carries
nothing else; warnings go to standard error. It ends with its input, or with SIGTERM, and with it
the commands that it runs and their sandboxes. Sandboxes that were created stay.

A model decides what is called, so it gets scope run: it can make and use sandboxes, and can't show
them folders of this machine or let security go. The server has the same over HTTP: see
agentkernel serve, path /mcp.")]
pub(crate) struct Args {
    /// How far the agent may go
    #[arg(long, value_enum, default_value_t = ScopeFlag::Run)]
    scope: ScopeFlag,
    /// Configuration file [default: none; $AGENTKERNEL_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// List the tools under their own names only, without run_command and other aliases
    #[arg(long)]
    no_aliases: bool,
}

/// [`Scope`] as a flag.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeFlag {
    /// Look only
    Read,
    /// Make and use sandboxes
    Run,
    /// All, the permissive profile included
    Admin,
}

impl From<ScopeFlag> for Scope {
    fn from(flag: ScopeFlag) -> Self {
        match flag {
            ScopeFlag::Read => Self::Read,
            ScopeFlag::Run => Self::Run,
            ScopeFlag::Admin => Self::Admin,
        }
    }
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let service = application.service(arguments.config).await?;
    let caller = Caller {
        name: "mcp".to_owned(),
        scope: arguments.scope.into(),
        quota: None,
        from: "stdio".to_owned(),
    };
    let settings = McpSettings { version: env!("CARGO_PKG_VERSION"), list_aliases: !arguments.no_aliases };
    agentkernel_mcp::serve_stdio(service, caller, settings, stopped()?).await?;
    Ok(0)
}

/// Completes when somebody wants this process to end.
fn stopped() -> Result<impl Future<Output = ()>, CliError> {
    let listen = |kind| signal(kind).map_err(|source| CliError::io("listen for signals", source));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
