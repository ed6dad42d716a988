//! `serve`.

use std::path::PathBuf;
use std::time::Duration;

use agentkernel_config::{ApiFlags, Overrides, Settings};
use agentkernel_server::Listener;

use super::Json;
use crate::application::Application;
use crate::arguments::parse_duration;
use crate::output::{CliError, print_text, warn_line};
use crate::serving::{compose, exposure, given_sockets, open_tcp, serve_until_told};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel serve
  agentkernel key create laptop --scope run
  agentkernel serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
  curl http://127.0.0.1:18888/run -H 'Content-Type: application/json' -d '{\"command\":[\"uname\"]}'

The API is described at /docs and /openapi.json. Without an API key only processes of your own user
on this machine may use it. Any other than a loopback address takes a key and TLS. Key, keys and
limits: docs/daemon.md. It ends with SIGTERM or Ctrl-C, when what runs has ended or --drain-timeout
has passed; a second one ends it at once.")]
pub(crate) struct Args {
    /// Address to listen on, or localhost [default: 127.0.0.1; config: api.host]
    #[arg(short = 'H', long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port; 0 takes a free one [default: 18888; config: api.port]
    #[arg(short, long)]
    port: Option<u16>,
    /// Configuration file [default: agentkernel.toml for its section api, if there is one;
    /// $AGENTKERNEL_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Certificate, a PEM file with its chain
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file that not everybody can read
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Another name by which clients reach this server; may be repeated
    #[arg(long = "allowed-host", value_name = "NAME")]
    allowed_hosts: Vec<String>,
    /// Origin of a web page that may call this server, scheme and host; may be repeated
    #[arg(long = "allowed-origin", value_name = "ORIGIN")]
    allowed_origins: Vec<String>,
    /// Listen beyond loopback without TLS (tls: something in front does it), without a key (key: whoever reaches it
    /// controls it), or without both (all)
    #[arg(long, value_name = "WHAT", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    allow_insecure: Option<Insecure>,
    /// How long commands may go on when the server is told to end [default: 30s; config: api.drain_seconds]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    drain_timeout: Option<Duration>,
}

/// What may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Insecure {
    /// TLS
    Tls,
    /// An API key
    Key,
    /// Both
    All,
}

impl Json for Args {
    fn serves(&self) -> bool {
        true
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let waived = arguments.allow_insecure;
    let config = arguments.config.as_ref().map(|path| application.environment.absolute(path));
    let flags = ApiFlags {
        host: arguments.host,
        port: arguments.port,
        tls_cert: arguments.tls_cert,
        tls_key: arguments.tls_key,
        allowed_hosts: arguments.allowed_hosts,
        allowed_origins: arguments.allowed_origins,
        drain_timeout: arguments.drain_timeout,
    };
    let settings =
        application.settings(config.as_deref(), Overrides { api: flags, ..Overrides::default() })?;
    let is = |what| waived.is_some_and(|waived| waived == what || waived == Insecure::All);
    let given = given_sockets(&application.environment, &settings)?;
    let open_to_all = exposure(&settings, is(Insecure::Key), is(Insecure::Tls))?;
    let doors = if given.is_empty() { open_tcp(&settings).await? } else { given };
    let addresses = addresses(&doors, &settings)?;
    let composed = compose(application, &settings, config, open_to_all).await?;
    if open_to_all {
        warn_line("agentkernel: warning: no API key is needed: whoever reaches this server controls it");
    }
    serve_until_told(application, composed, doors, || {
        let lines = addresses.iter().map(|address| format!("listening on {address}\n"));
        print_text(&lines.collect::<String>())
    })
    .await?;
    Ok(0)
}

/// As clients write them.
fn addresses(doors: &[Listener], settings: &Settings) -> Result<Vec<String>, CliError> {
    let scheme = if settings.api.tls.is_some() { "https" } else { "http" };
    let one = |door: &Listener| match door {
        Listener::Tcp { listener, .. } => {
            let address = listener.local_addr().map_err(|source| CliError::io("look at a socket", source))?;
            Ok(format!("{scheme}://{address}"))
        }
        Listener::Unix { .. } => Ok("a unix socket".to_owned()),
    };
    doors.iter().map(one).collect()
}
