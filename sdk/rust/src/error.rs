//! Everything that can go wrong, by what a caller would do about it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use agentkernel_api::ErrorCode;

/// The source of an error of another library.
pub(crate) type Source = Box<dyn StdError + Send + Sync>;

/// What the server said when it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// For programs; `None` where the server sent none, or one that this version doesn't know.
    pub code: Option<ErrorCode>,
    /// For people, in the server's words.
    pub message: String,
    /// When it makes sense to come again, where the server said so.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.message)
    }
}

/// Why a call has no answer. A command that ran and failed is an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 400 and the other statuses of a wrong request: change it.
    #[error("{refusal}")]
    Validation {
        /// What the server said.
        refusal: Refusal,
    },
    /// 401 and 403: another key is needed, or one of wider scope.
    #[error("{refusal}")]
    Auth {
        /// What the server said.
        refusal: Refusal,
    },
    /// 404: there is no such thing.
    #[error("{refusal}")]
    NotFound {
        /// What the server said.
        refusal: Refusal,
    },
    /// 409: it is there already, in another phase, or somebody else is changing it.
    #[error("{refusal}")]
    Conflict {
        /// What the server said.
        refusal: Refusal,
    },
    /// 422: the server can't enforce or provide what was asked for; nothing was changed.
    #[error("{refusal}")]
    Unsupported {
        /// What the server said.
        refusal: Refusal,
    },
    /// 429 and 503: come again; see [`Refusal::retry_after`].
    #[error("{refusal}")]
    Unavailable {
        /// What the server said.
        refusal: Refusal,
    },
    /// Any other 5xx: something broke on the server's side.
    #[error("{refusal}")]
    Server {
        /// What the server said.
        refusal: Refusal,
    },
    /// The client can't be made of these settings.
    #[error("{setting} {value:?}: {problem}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What it was.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody could be reached. Nothing was sent.
    #[error(
        "can't connect to {to}; is the server running? start it with `agentkernel serve` or `agentkernel daemon start`"
    )]
    Connect {
        /// The address or socket.
        to: String,
        /// What the system said.
        #[source]
        source: Source,
    },
    /// The connection broke. Whether the server acted on the request is not known.
    #[error("the connection to {to} broke while {action}")]
    Network {
        /// The address or socket.
        to: String,
        /// What was going on.
        action: &'static str,
        /// What the system said.
        #[source]
        source: Source,
    },
    /// No answer in time. Whether the server acted on the request is not known.
    #[error("no answer from {to} within {} ms", after.as_millis())]
    TimedOut {
        /// The address or socket.
        to: String,
        /// How long was waited.
        after: Duration,
    },
    /// The answer is not what the contract says.
    #[error("the answer of {to} can't be understood: {problem}")]
    Answer {
        /// The address or socket.
        to: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A stream ended before its last event, or its server fell silent.
    #[error("the stream from {to} ended early: {problem}")]
    Stream {
        /// The address or socket.
        to: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A request could not be put together.
    #[error("{what} can't be sent: {problem}")]
    Request {
        /// Which part of it.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// Of an answer that is none of success.
    pub(crate) fn of(refusal: Refusal) -> Self {
        match refusal.status {
            401 | 403 => Self::Auth { refusal },
            404 => Self::NotFound { refusal },
            409 => Self::Conflict { refusal },
            422 => Self::Unsupported { refusal },
            429 | 503 => Self::Unavailable { refusal },
            500.. => Self::Server { refusal },
            _ => Self::Validation { refusal },
        }
    }

    /// What the server said, where it answered at all.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Validation { refusal }
            | Self::Auth { refusal }
            | Self::NotFound { refusal }
            | Self::Conflict { refusal }
            | Self::Unsupported { refusal }
            | Self::Unavailable { refusal }
            | Self::Server { refusal } => Some(refusal),
            Self::Setting { .. }
            | Self::Connect { .. }
            | Self::Network { .. }
            | Self::TimedOut { .. }
            | Self::Answer { .. }
            | Self::Stream { .. }
            | Self::Request { .. } => None,
        }
    }

    /// The server's code, where it sent one that this version knows.
    pub fn code(&self) -> Option<ErrorCode> {
        self.refusal()?.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_class_of_its_status() {
        for code in ErrorCode::ALL {
            let refusal =
                Refusal { status: code.status(), code: Some(code), message: "m".into(), retry_after: None };
            let error = Error::of(refusal.clone());
            assert_eq!(error.refusal(), Some(&refusal));
            assert_eq!(error.to_string(), "m");
            let server = matches!(error, Error::Server { .. } | Error::Unavailable { .. });
            assert_eq!(server, code.status() >= 500 || code == ErrorCode::QuotaExceeded, "{code:?}");
        }
    }
}
