//! Where a sandbox is in its life, and what may be done with it there.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The recorded phase of a sandbox. `Creating`, `Starting`, `Stopping` and `Removing` are written *before* the step
/// they name begins, so that whoever finds one without a living owner knows what to repeat or undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Being made; undone by recovery.
    Creating,
    /// Made, never or not now running; files are kept.
    Stopped,
    /// Being started; set back to `Stopped` by recovery.
    Starting,
    /// Running.
    Running,
    /// Being stopped; finished by recovery.
    Stopping,
    /// Being removed; finished by recovery.
    Removing,
}

/// What a user asks of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Remove it.
    Remove,
    /// Use what runs inside: exec, attach, files, logs, ports.
    Use,
}

/// An action that the phase doesn't allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {phase}, so it can't be {action}")]
pub struct PhaseError {
    /// Where the sandbox is.
    pub phase: Phase,
    /// What was asked.
    pub action: Action,
}

impl Phase {
    /// The phase to record before `action` begins, `None` where there is nothing to do (starting what runs, stopping
    /// what is stopped), or why it can't be done.
    pub fn before(self, action: Action) -> Result<Option<Self>, PhaseError> {
        match (action, self) {
            (Action::Start, Self::Stopped | Self::Starting) => Ok(Some(Self::Starting)),
            (Action::Start | Action::Use, Self::Running) => Ok(None),
            (Action::Stop, Self::Running | Self::Stopping | Self::Starting) => Ok(Some(Self::Stopping)),
            (Action::Stop, Self::Stopped) => Ok(None),
            (Action::Remove, _) => Ok(Some(Self::Removing)),
            (action, phase) => Err(PhaseError { phase, action }),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "creating",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Removing => "removing",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Remove => "removed",
            Self::Use => "used",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeating_a_verb_is_safe() {
        assert_eq!(Phase::Running.before(Action::Start), Ok(None));
        assert_eq!(Phase::Stopped.before(Action::Stop), Ok(None));
        assert_eq!(Phase::Removing.before(Action::Remove), Ok(Some(Phase::Removing)));
        assert!(Phase::Stopped.before(Action::Use).is_err());
        assert!(Phase::Removing.before(Action::Start).is_err());
    }
}
