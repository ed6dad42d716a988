//! Every way a verb can fail, and how that is told.

use std::error::Error;
use std::io::Write;

use agentkernel_backend::BackendError;
use agentkernel_backends::NotInThisBuild;
use agentkernel_backends::provision::ProvisionError;
use agentkernel_config::{ConfigError, EnvironmentError};
use agentkernel_engine::EngineError;
use agentkernel_image::ImageError;
use agentkernel_model::exit_code as codes;
use agentkernel_store::StoreError;
use clap::error::ErrorKind;

use super::{kind, print_text, warn_line};
use crate::session::SessionError;
use crate::stdio::refuse_closed_output;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The caller's process can't be described.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A wrong setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory, a backend, a box, or a verb over them.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The image store.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What machines are made with.
    #[error(transparent)]
    Provision(Box<ProvisionError>),
    /// The server or daemon.
    #[error(transparent)]
    Client(#[from] agentkernel_sdk::Error),
    /// A request of a server, or what it is made of.
    #[error(transparent)]
    Service(#[from] agentkernel_service::ServiceError),
    /// The model context protocol.
    #[error(transparent)]
    Mcp(#[from] agentkernel_mcp::StdioError),
    /// A door that can't be opened.
    #[error(transparent)]
    Listen(#[from] agentkernel_server::ListenError),
    /// Certificate or private key.
    #[error(transparent)]
    Tls(#[from] agentkernel_server::TlsError),
    /// A name of the server, or an origin.
    #[error(transparent)]
    Host(#[from] agentkernel_server::guard::InvalidHost),
    /// API keys.
    #[error(transparent)]
    Key(#[from] agentkernel_server::KeyError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] agentkernel_audit::AuditError),
    /// There is a daemon already.
    #[error("a daemon runs already for {}{}: stop it with `agentkernel daemon stop`", state_dir.display(), pid.map(|pid| format!(", process {pid}")).unwrap_or_default())]
    DaemonRuns {
        /// Whose.
        state_dir: std::path::PathBuf,
        /// Its process, where it says.
        pid: Option<u32>,
    },
    /// The daemon in the background did not come up.
    #[error("the daemon could not be started: {why}; its log is {}", log.display())]
    DaemonFailed {
        /// What it said.
        why: String,
        /// Where it says more.
        log: std::path::PathBuf,
    },
    /// A backend was named that isn't here.
    #[error(transparent)]
    NotInThisBuild(#[from] NotInThisBuild),
    /// Arguments that parse and can't be used.
    #[error("{what}")]
    Usage {
        /// What is wrong, and what would do.
        what: String,
    },
    /// An id that no command of the sandbox has.
    #[error("sandbox {sandbox:?} has no command {id:?}; `agentkernel ps {sandbox}` shows those that it has")]
    NoSuchCommand {
        /// The sandbox.
        sandbox: String,
        /// The id.
        id: String,
    },
    /// A signal for a command that has ended.
    #[error("command {id:?} of sandbox {sandbox:?} has ended already ({how})")]
    CommandEnded {
        /// The sandbox.
        sandbox: String,
        /// The command.
        id: String,
        /// As `ps` says it.
        how: String,
    },
    /// The log of a command whose output went to its caller.
    #[error(
        "command {id:?} of sandbox {sandbox:?} has no log: only those started with `agentkernel exec --detach` have one"
    )]
    NoLog {
        /// The sandbox.
        sandbox: String,
        /// The command.
        id: String,
    },
    /// A step of ours.
    #[error("could not {action}: {source}")]
    Io {
        /// The step, as a verb phrase.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The reader of our output has gone. Not worth a message: it didn't want to hear more.
    #[error("the reader of the output has closed it")]
    OutputClosed,
}

impl CliError {
    /// A [`CliError::Io`].
    pub(crate) fn io(action: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// A [`CliError::Usage`].
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::Usage { what: what.into() }
    }
}

impl From<ProvisionError> for CliError {
    fn from(error: ProvisionError) -> Self {
        Self::Provision(Box::new(error))
    }
}

impl From<BackendError> for CliError {
    fn from(error: BackendError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::OutputClosed => Self::OutputClosed,
            SessionError::Stream { action, source } => Self::io(action, source),
            SessionError::Backend(error) => error.into(),
        }
    }
}

/// The error and its causes in one line. A cause that its effect already tells is not told twice.
pub(crate) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}

/// Tells an error: to people on standard error, to scripts that asked for JSON as a document on standard output.
pub(crate) fn report(error: &CliError, json: bool) {
    if matches!(error, CliError::OutputClosed) {
        return;
    }
    let message = describe(error);
    if json {
        let document = serde_json::json!({ "error": { "kind": kind(error), "message": message } });
        if print_text(&format!("{document}\n")).is_ok() {
            return;
        }
    }
    warn_line(&format!("agentkernel: error: {message}"));
}

/// Tells what clap has to say; help that was asked for is no error.
pub(crate) fn report_usage(error: &clap::Error) -> u8 {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let unasked_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !asked_for && !unasked_help && write!(std::io::stderr(), "agentkernel: ").is_err() {
        return codes::OURS;
    }
    if asked_for && let Err(closed) = refuse_closed_output() {
        warn_line(&format!("agentkernel: error: {closed}"));
        return codes::OURS;
    }
    match error.print() {
        Ok(()) if asked_for => 0,
        // `agentkernel --help | head -1` is fine too.
        Err(failure) if asked_for && failure.kind() == std::io::ErrorKind::BrokenPipe => 0,
        _ => codes::OURS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_each() {
        let source = std::io::Error::other("the disk is full");
        let error = CliError::io("write the file", source);
        assert_eq!(describe(&error), "could not write the file: the disk is full");
    }
}
