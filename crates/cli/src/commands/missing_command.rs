//! Why a command of a sandbox can't be had by the id that was given.

use agentkernel_backend::{BackendError, ExecutionState, Guest};
use agentkernel_model::{ExecId, SandboxName};

use super::ps::state_in_words;
use crate::output::CliError;

/// What was wanted of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// That it gets a signal: it must run.
    Signal,
    /// Its log: it must have been detached.
    Log,
}

/// `error` in words that help, where it says that the sandbox has no such command; else `error`.
pub(super) async fn explain(
    error: BackendError,
    wish: Wish,
    guest: &dyn Guest,
    (sandbox, id): (&SandboxName, &ExecId),
) -> CliError {
    if !matches!(error, BackendError::NotFound { .. } | BackendError::Invalid { .. }) {
        return error.into();
    }
    let commands = match guest.executions().await {
        Ok(commands) => commands,
        Err(error) => return error.into(),
    };
    let found = commands.iter().find(|command| command.id == *id);
    let (sandbox, id) = (sandbox.to_string(), id.to_string());
    match (found.map(|command| (command.state, command.detached)), wish) {
        (Some((state @ ExecutionState::Ended(_), _)), Wish::Signal) => {
            CliError::CommandEnded { sandbox, id, how: state_in_words(state) }
        }
        (Some((_, false)), Wish::Log) => CliError::NoLog { sandbox, id },
        (Some(_), _) => error.into(),
        (None, _) => CliError::NoSuchCommand { sandbox, id },
    }
}
