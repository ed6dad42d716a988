//! Where a sandbox is in its life, and what may be done with it there.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The recorded phase of a sandbox. `Creating`, `Starting`, `Pausing`, `Stopping` and `Removing` are written *before* the step
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
    /// Standing still for a moment: being paused, resumed or copied; let go on by recovery.
    Pausing,
    /// Standing still until it is resumed.
    Paused,
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
    /// Stop its time.
    Pause,
    /// Let its time go on.
    Resume,
    /// Keep it as it runs, or copy it.
    Copy,
    /// Remove it.
    Remove,
    /// Use what runs inside: exec, attach, files, logs, ports.
    Use,
}

/// An action that the phase doesn't allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {phase}{}", consequence(*.phase, *.action))]
pub struct PhaseError {
    /// Where the sandbox is.
    pub phase: Phase,
    /// What was asked.
    pub action: Action,
}

/// What follows from the phase, in a user's words.
fn consequence(phase: Phase, action: Action) -> String {
    match phase {
        Phase::Paused => "; resume it first".to_owned(),
        Phase::Creating
        | Phase::Stopped
        | Phase::Starting
        | Phase::Running
        | Phase::Pausing
        | Phase::Stopping
        | Phase::Removing => format!(", so it can't be {action}"),
    }
}

impl Phase {
    /// The phase to record before `action` begins, `None` where there is nothing to do (starting what runs, stopping
    /// what is stopped), or why it can't be done.
    pub fn before(self, action: Action) -> Result<Option<Self>, PhaseError> {
        match (action, self) {
            (Action::Start, Self::Stopped | Self::Starting) => Ok(Some(Self::Starting)),
            (Action::Start | Action::Use, Self::Running) => Ok(None),
            (
                Action::Stop,
                Self::Running | Self::Pausing | Self::Paused | Self::Stopping | Self::Starting,
            ) => Ok(Some(Self::Stopping)),
            (Action::Stop, Self::Stopped) => Ok(None),
            (Action::Pause | Action::Copy, Self::Running | Self::Pausing) => Ok(Some(Self::Pausing)),
            (Action::Pause | Action::Copy, Self::Paused) => Ok(None),
            (Action::Resume, Self::Pausing | Self::Paused) => Ok(Some(Self::Pausing)),
            (Action::Resume, Self::Running) => Ok(None),
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
            Self::Pausing => "pausing",
            Self::Paused => "paused",
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
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Copy => "copied",
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

    #[test]
    fn what_stands_still_can_be_resumed_copied_stopped_and_removed_and_nothing_else() {
        assert_eq!(Phase::Running.before(Action::Pause), Ok(Some(Phase::Pausing)));
        assert_eq!(Phase::Paused.before(Action::Pause), Ok(None));
        assert_eq!(Phase::Paused.before(Action::Resume), Ok(Some(Phase::Pausing)));
        assert_eq!(Phase::Running.before(Action::Resume), Ok(None));
        assert_eq!(Phase::Paused.before(Action::Copy), Ok(None));
        assert_eq!(Phase::Paused.before(Action::Stop), Ok(Some(Phase::Stopping)));
        assert_eq!(Phase::Paused.before(Action::Remove), Ok(Some(Phase::Removing)));
        for action in [Action::Use, Action::Start] {
            let error = Phase::Paused.before(action).unwrap_err();
            assert_eq!(error.to_string(), "it is paused; resume it first");
        }
        let error = Phase::Stopped.before(Action::Pause).unwrap_err();
        assert_eq!(error.to_string(), "it is stopped, so it can't be paused");
    }
}
