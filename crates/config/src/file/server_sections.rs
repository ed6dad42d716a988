//! The sections of `agentkernel.toml` for the HTTP server and its audit log. Their doc comments are the text of the
//! schema and of the reference page.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::SizeValue;

/// The HTTP server: `agentkernel serve` and the daemon.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ApiSection {
    /// Where `serve` listens: an address of this machine, or `localhost`; by default `127.0.0.1`. Any other than a loopback
    /// address takes an API key and TLS.
    pub(crate) host: Option<String>,
    /// The port, by default 18888; 0 takes a free one.
    pub(crate) port: Option<u16>,
    /// The certificate, a file in PEM form with its chain; together with `tls_key`.
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key, a file in PEM form that not everybody can read.
    pub(crate) tls_key: Option<PathBuf>,
    /// Further names by which clients reach the server; localhost, loopback addresses and the address it is reached at are
    /// always fine, all others are refused (DNS rebinding).
    pub(crate) allowed_hosts: Vec<String>,
    /// Web pages of other origins that may call the server, such as `https://app.example`.
    pub(crate) allowed_origins: Vec<String>,
    /// How long commands may go on when the server is told to end, in seconds; by default 30.
    pub(crate) drain_seconds: Option<u32>,
    /// How much the server takes on; what is left out is its own choice (docs/daemon.md).
    pub(crate) limits: ApiLimitsSection,
}

/// How much the server takes on; what is left out is its own choice (docs/daemon.md).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ApiLimitsSection {
    /// Connections at the same time.
    pub(crate) max_connections: Option<u32>,
    /// Connections of one address at the same time.
    pub(crate) max_connections_per_peer: Option<u32>,
    /// How long the head of a request may take to arrive, in seconds.
    pub(crate) head_timeout_seconds: Option<u32>,
    /// How long the server waits for a body that comes slower than 1 KiB a second, in seconds.
    pub(crate) body_timeout_seconds: Option<u32>,
    /// How long a connection may be idle, in seconds.
    pub(crate) idle_timeout_seconds: Option<u32>,
    /// Commands that run at the same time.
    pub(crate) max_concurrent_runs: Option<u32>,
    /// Sandboxes that are started at the same time.
    pub(crate) max_concurrent_starts: Option<u32>,
    /// Requests that wait for room; more are told to come again.
    pub(crate) max_queued: Option<u32>,
    /// How long one of them waits, in seconds.
    pub(crate) queue_timeout_seconds: Option<u32>,
    /// The longest time that a request may give a command, in seconds.
    pub(crate) max_timeout_seconds: Option<u32>,
    /// The time of a command whose request names none, in seconds.
    pub(crate) default_timeout_seconds: Option<u32>,
    /// The most of stdout and of stderr that an answer in JSON holds, in MiB or with a unit.
    pub(crate) max_output: Option<SizeValue>,
    /// The largest body in JSON, in MiB or with a unit.
    pub(crate) max_body: Option<SizeValue>,
    /// The largest file or archive that is sent as it is, in MiB or with a unit.
    pub(crate) max_upload: Option<SizeValue>,
    /// The largest file that is read into JSON, in MiB or with a unit.
    pub(crate) max_file_in_json: Option<SizeValue>,
    /// Commands of one batch.
    pub(crate) max_batch: Option<u32>,
    /// Terminals at the same time.
    pub(crate) max_terminals: Option<u32>,
    /// The log of a detached command, in MiB or with a unit; its oldest output goes first.
    pub(crate) detached_log: Option<SizeValue>,
}

/// The audit log of the HTTP server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct AuditSection {
    /// Whether it is kept; it is.
    pub(crate) enabled: Option<bool>,
    /// A file that has grown to this is put aside, in MiB or with a unit; by default 64 MiB.
    pub(crate) max_size: Option<SizeValue>,
    /// How many files that were put aside are kept; by default 16.
    pub(crate) keep: Option<u32>,
    /// What is written of a command: all of it with what looks like a secret masked (`redacted`, the default), or its
    /// `program` alone.
    pub(crate) arguments: Option<AuditArguments>,
}

/// What is written of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditArguments {
    /// All of it, with what looks like a secret masked.
    #[default]
    Redacted,
    /// The program alone, and how many arguments it got.
    Program,
}

impl std::fmt::Display for AuditArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Redacted => "redacted",
            Self::Program => "program",
        })
    }
}
