//! Why a request failed, as its answer says it.

use std::time::Duration;

use agentkernel_api::ErrorCode;
use agentkernel_backend::BackendError;
use agentkernel_config::ConfigError;
use agentkernel_engine::{EngineError, ErrorKind};

/// A request that failed. The code decides the HTTP status; nothing is read out of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: with the name, path or value, and what to do.
    pub message: String,
    /// When it may go well (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl ServiceError {
    /// Of this code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// [`ErrorCode::Invalid`]: `field` of the request is wrong.
    pub fn invalid(field: &str, why: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::Invalid, format!("{field}: {why}"))
    }

    /// The same, with the time after which it may go well.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What a command or a file operation inside a running sandbox failed with. That a step inside fails (a read-only
    /// file system, a full disk) says nothing of the server.
    pub(crate) fn inside(error: BackendError) -> Self {
        match error {
            BackendError::Runtime { .. } => Self::new(ErrorCode::Conflict, error.to_string()),
            other => EngineError::from(other).into(),
        }
    }

    /// A worker thread or task of the server died: a bug of ours.
    pub(crate) fn worker(error: &tokio::task::JoinError) -> Self {
        Self::new(ErrorCode::Failed, format!("a worker of the server failed: {error}; please report this"))
    }
}

/// An image is what isn't there.
fn image_missing(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::NoImage { .. }
            | EngineError::ImageGone { .. }
            | EngineError::Backend(BackendError::NoImage { .. })
    )
}

/// The box itself went wrong, not a step of ours.
fn box_failed(error: &EngineError) -> bool {
    matches!(error, EngineError::Backend(BackendError::BoxEnded { .. } | BackendError::HostileGuest { .. }))
}

impl From<EngineError> for ServiceError {
    fn from(error: EngineError) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid => ErrorCode::Invalid,
            ErrorKind::NotFound if image_missing(&error) => ErrorCode::ImageNotFound,
            ErrorKind::NotFound => ErrorCode::NotFound,
            ErrorKind::AlreadyExists => ErrorCode::AlreadyExists,
            ErrorKind::Conflict => ErrorCode::Conflict,
            ErrorKind::Unsupported => ErrorCode::Unsupported,
            ErrorKind::Unavailable => ErrorCode::Unavailable,
            ErrorKind::CannotExec => ErrorCode::CannotExec,
            ErrorKind::Failed if box_failed(&error) => ErrorCode::BoxFailed,
            ErrorKind::Failed => ErrorCode::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<BackendError> for ServiceError {
    fn from(error: BackendError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<ConfigError> for ServiceError {
    /// What a request can cause has been checked when it was read; what is left is the server's own configuration, and
    /// mounts that are not there.
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorCode::Invalid, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_nobody_has_is_no_outage() {
        let no_image = |absent| {
            let (why, because, fix) =
                ("image x is not here".to_owned(), String::new(), "fetch it".to_owned());
            ServiceError::from(EngineError::NoImage { absent, why, because, fix }).code
        };
        assert_eq!((no_image(true), no_image(false)), (ErrorCode::ImageNotFound, ErrorCode::Unavailable));
        let missing = BackendError::NoImage { why: "x".to_owned(), fix: "y".to_owned() };
        assert_eq!(ServiceError::from(missing).code, ErrorCode::ImageNotFound);
    }

    #[test]
    fn a_box_that_ends_is_no_failure_of_ours() {
        let ended = BackendError::BoxEnded { why: "gone".to_owned() };
        assert_eq!(ServiceError::from(ended).code, ErrorCode::BoxFailed);
        let step = BackendError::runtime("mount /usr", "no");
        assert_eq!(ServiceError::from(step).code, ErrorCode::Failed);
        let step = BackendError::runtime("write /etc/x in the sandbox", "read-only file system");
        assert_eq!(ServiceError::inside(step).code, ErrorCode::Conflict);
        let missing = BackendError::NotFound { what: "/x".to_owned() };
        assert_eq!(ServiceError::inside(missing).code, ErrorCode::NotFound);
    }
}
