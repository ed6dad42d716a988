//! Exit codes and error kinds: derived from the error's variant, here and nowhere else.

use agentkernel_backends::provision::ProvisionError;
use agentkernel_engine::ErrorKind;
use agentkernel_image::{ImageError, MirrorError};
use agentkernel_mcp::StdioError;
use agentkernel_model::exit_code as codes;
use agentkernel_server::{KeyError, ListenError};

use super::CliError;

/// A command that died of SIGPIPE, as a shell shows it.
const BROKEN_PIPE: u8 = 128 + 13;

/// The exit code for an error. A command's own code is none of these: it is passed through.
pub(crate) fn exit_code(error: &CliError) -> u8 {
    match error {
        CliError::OutputClosed => BROKEN_PIPE,
        CliError::Engine(error) => error.exit_code(),
        CliError::Environment(_)
        | CliError::Config(_)
        | CliError::Image(_)
        | CliError::Provision(_)
        | CliError::Client(_)
        | CliError::NotInThisBuild(_)
        | CliError::Service(_)
        | CliError::Mcp(_)
        | CliError::Listen(_)
        | CliError::Tls(_)
        | CliError::Host(_)
        | CliError::Key(_)
        | CliError::Audit(_)
        | CliError::DaemonRuns { .. }
        | CliError::DaemonFailed { .. }
        | CliError::Usage { .. }
        | CliError::NoSuchCommand { .. }
        | CliError::CommandEnded { .. }
        | CliError::NoLog { .. }
        | CliError::Io { .. } => codes::OURS,
    }
}

/// The kind in a JSON error document: a word that scripts can rely on.
pub(crate) fn kind(error: &CliError) -> ErrorKind {
    match error {
        CliError::Engine(error) => error.kind(),
        CliError::Image(error) => image_kind(error),
        CliError::Provision(error) => provision_kind(error),
        CliError::Client(error) => client_kind(error),
        CliError::Service(error) => service_kind(error),
        CliError::Key(error) => key_kind(error),
        CliError::Mcp(StdioError::Beginning { .. }) => ErrorKind::Invalid,
        CliError::Mcp(StdioError::Task { .. }) => ErrorKind::Failed,
        CliError::Listen(ListenError::Host { .. } | ListenError::Exposed { .. }) | CliError::Host(_) => {
            ErrorKind::Invalid
        }
        CliError::DaemonRuns { .. } => ErrorKind::Conflict,
        CliError::DaemonFailed { .. } => ErrorKind::Unavailable,
        CliError::Listen(_) | CliError::Tls(_) | CliError::Audit(_) => ErrorKind::Failed,
        CliError::Config(_) | CliError::Usage { .. } => ErrorKind::Invalid,
        CliError::NoSuchCommand { .. } => ErrorKind::NotFound,
        CliError::CommandEnded { .. } | CliError::NoLog { .. } => ErrorKind::Conflict,
        CliError::NotInThisBuild(_) => ErrorKind::Unsupported,
        CliError::Environment(_) | CliError::OutputClosed | CliError::Io { .. } => ErrorKind::Failed,
    }
}

fn key_kind(error: &KeyError) -> ErrorKind {
    match error {
        KeyError::Name { .. } => ErrorKind::Invalid,
        KeyError::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        KeyError::NotFound { .. } => ErrorKind::NotFound,
        KeyError::TooMany => ErrorKind::Conflict,
        KeyError::Io { .. } | KeyError::Damaged { .. } | KeyError::Exposed { .. } => ErrorKind::Failed,
    }
}

fn service_kind(error: &agentkernel_service::ServiceError) -> ErrorKind {
    match error.code.status() {
        400 => ErrorKind::Invalid,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        422 => ErrorKind::Unsupported,
        503 => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}

fn client_kind(error: &agentkernel_sdk::Error) -> ErrorKind {
    use agentkernel_sdk::Error;
    match error {
        Error::Setting { .. } | Error::Request { .. } | Error::Validation { .. } => ErrorKind::Invalid,
        Error::NotFound { .. } => ErrorKind::NotFound,
        Error::Conflict { .. } => ErrorKind::Conflict,
        Error::Unsupported { .. } => ErrorKind::Unsupported,
        Error::Unavailable { .. } | Error::Connect { .. } | Error::TimedOut { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}

fn provision_kind(error: &ProvisionError) -> ErrorKind {
    match error {
        ProvisionError::Keep(error) | ProvisionError::Mirror(MirrorError::Keep(error)) => image_kind(error),
        ProvisionError::Mirror(MirrorError::Fetch { .. }) => ErrorKind::Unavailable,
        ProvisionError::NotPinned
        | ProvisionError::Manifest { .. }
        | ProvisionError::NotListed { .. }
        | ProvisionError::Mirror(MirrorError::Address { .. }) => ErrorKind::Invalid,
        ProvisionError::WrongManifest { .. }
        | ProvisionError::Unusable { .. }
        | ProvisionError::Io { .. } => ErrorKind::Failed,
    }
}

fn image_kind(error: &ImageError) -> ErrorKind {
    match error {
        ImageError::Reference { .. }
        | ImageError::Digest { .. }
        | ImageError::Ambiguous { .. }
        | ImageError::Setting { .. }
        | ImageError::Archive { .. } => ErrorKind::Invalid,
        ImageError::NotFound { .. } | ImageError::Missing { .. } => ErrorKind::NotFound,
        ImageError::Unreachable { .. } => ErrorKind::Unavailable,
        ImageError::InUse { .. } | ImageError::SeveralNames { .. } => ErrorKind::Conflict,
        ImageError::Platform { .. } | ImageError::Unsupported { .. } => ErrorKind::Unsupported,
        // What went wrong on the way: the message says it, a program can only try again.
        _ => ErrorKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use agentkernel_backend::BackendError;
    use agentkernel_model::CannotExec;

    use super::*;
    use crate::session::SessionError;

    #[test]
    fn codes_follow_the_variant() {
        let not_found = BackendError::CannotExec(CannotExec::NotFound { program: "x".into() });
        assert_eq!(exit_code(&not_found.into()), 127);
        let refused = CannotExec::NotExecutable { program: "x".into(), why: "no permission".into() };
        let error = CliError::from(SessionError::Backend(BackendError::CannotExec(refused)));
        assert_eq!((exit_code(&error), kind(&error)), (126, ErrorKind::CannotExec));
        assert_eq!(exit_code(&SessionError::OutputClosed.into()), 141);
        assert_eq!(exit_code(&CliError::usage("x")), 125);
    }
}
