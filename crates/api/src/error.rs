//! The envelope of every JSON answer, and the code of every error.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `{"success": true, "data": ...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Envelope<T> {
    /// Always true; errors are an [`ErrorBody`].
    pub success: bool,
    /// The answer.
    pub data: T,
}

impl<T> Envelope<T> {
    /// Around an answer.
    pub fn new(data: T) -> Self {
        Self { success: true, data }
    }
}

/// `{"success": false, "error": "...", "code": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Always false.
    pub success: bool,
    /// For people: what went wrong, with the name, path or value, and what to do.
    pub error: String,
    /// For programs.
    pub code: ErrorCode,
}

impl ErrorBody {
    /// Of this code.
    pub fn new(code: ErrorCode, error: impl Into<String>) -> Self {
        Self { success: false, error: error.into(), code }
    }
}

/// Every way in which a request can fail. A command that ran and failed is no error: its exit code is in a 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: the body is not JSON.
    InvalidJson,
    /// 400: the request is wrong: a field, a value, a path.
    Invalid,
    /// 401: no key, or one that is not known.
    Unauthorized,
    /// 403: the key's scope doesn't reach that far, or the thing asked for needs another.
    Forbidden,
    /// 403: a browser's request from a foreign origin, or with a foreign `Host`.
    ForeignOrigin,
    /// 404: no such sandbox, file, execution or route.
    NotFound,
    /// 404: the image isn't here and may not be fetched, or nobody has it by that name.
    ImageNotFound,
    /// 405: the route knows other methods.
    MethodNotAllowed,
    /// 406: no format that the client takes.
    NotAcceptable,
    /// 408: the request did not arrive in time.
    RequestTimeout,
    /// 409: something by that name is there already.
    AlreadyExists,
    /// 409: not in this phase, or somebody else is changing it.
    Conflict,
    /// 413: the body is too large.
    TooLarge,
    /// 415: the body's type is not known.
    UnsupportedMediaType,
    /// 422: the backend can't enforce or provide what was asked for. Nothing was changed.
    Unsupported,
    /// 422: the command can't be started. Only where there is no result to say it in.
    CannotExec,
    /// 429: the key's quota is used up; `Retry-After` says when to come again.
    QuotaExceeded,
    /// 500: a step failed.
    Failed,
    /// 502: the sandbox broke the protocol or came to an end.
    BoxFailed,
    /// 503: too much at once; `Retry-After` says when to come again.
    Busy,
    /// 503: the backend isn't ready on this machine, or the image's registry can't be reached.
    Unavailable,
    /// 503: the server is going down.
    ShuttingDown,
}

impl ErrorCode {
    /// All of them, for the documentation.
    pub const ALL: [Self; 22] = [
        Self::InvalidJson,
        Self::Invalid,
        Self::Unauthorized,
        Self::Forbidden,
        Self::ForeignOrigin,
        Self::NotFound,
        Self::ImageNotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::AlreadyExists,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Unsupported,
        Self::CannotExec,
        Self::QuotaExceeded,
        Self::Failed,
        Self::BoxFailed,
        Self::Busy,
        Self::Unavailable,
        Self::ShuttingDown,
    ];

    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidJson | Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::ForeignOrigin => 403,
            Self::NotFound | Self::ImageNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::RequestTimeout => 408,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Unsupported | Self::CannotExec => 422,
            Self::QuotaExceeded => 429,
            Self::Failed => 500,
            Self::BoxFailed => 502,
            Self::Busy | Self::Unavailable | Self::ShuttingDown => 503,
        }
    }
}
