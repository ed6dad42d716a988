//! One finding.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Fine.
    Ok,
    /// Something can't be done; most can.
    Warn,
    /// Sandboxes don't work.
    Fail,
}

/// What was looked at, what was found, and what would change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// A word that scripts can rely on.
    pub(crate) id: String,
    /// How bad it is.
    pub(crate) status: Status,
    /// What was found.
    pub(crate) what: String,
    /// The exact commands, or what to ask an administrator for; only where something is wrong.
    pub(crate) fix: Option<String>,
}

impl Check {
    /// All is well.
    pub(crate) fn ok(id: impl Into<String>, what: impl Into<String>) -> Self {
        Self { id: id.into(), status: Status::Ok, what: what.into(), fix: None }
    }

    /// Something is missing.
    pub(crate) fn warn(id: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id: id.into(), status: Status::Warn, what: what.into(), fix: Some(fix.into()) }
    }

    /// It can't work.
    pub(crate) fn fail(id: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id: id.into(), status: Status::Fail, what: what.into(), fix: Some(fix.into()) }
    }
}
