//! Why a call failed: for the client's program, or for the model.

use agentkernel_api::ErrorCode;
use agentkernel_service::ServiceError;
use rmcp::ErrorData;
use rmcp::model::CallToolResult;
use serde_json::{Value, json};

use crate::answers::failure;

/// A call that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments are wrong: "invalid params".
    Arguments(ErrorData),
    /// It could not be done: a result with `isError`, whose text the model reads.
    Service(ServiceError),
}

impl From<ErrorData> for Failure {
    fn from(error: ErrorData) -> Self {
        Self::Arguments(error)
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        match error.code {
            ErrorCode::Invalid | ErrorCode::InvalidJson => Self::Arguments(protocol_error(error)),
            _ => Self::Service(error),
        }
    }
}

impl Failure {
    /// As `tools/call` answers it.
    pub(crate) fn into_answer(self) -> Result<CallToolResult, ErrorData> {
        match self {
            Self::Arguments(error) => Err(error),
            Self::Service(error) => Ok(failure(&message(&error), &code(&error))),
        }
    }

    /// As `resources/read` answers it, which knows protocol errors only.
    pub(crate) fn into_error(self) -> ErrorData {
        match self {
            Self::Arguments(error) => error,
            Self::Service(error) => protocol_error(error),
        }
    }
}

fn message(error: &ServiceError) -> String {
    match error.retry_after {
        Some(wait) => format!("{} (try again in {} s)", error.message, wait.as_secs().max(1)),
        None => error.message.clone(),
    }
}

/// The code as the HTTP API writes it.
fn code(error: &ServiceError) -> String {
    match serde_json::to_value(error.code) {
        Ok(Value::String(code)) => code,
        _ => "failed".to_owned(),
    }
}

fn protocol_error(error: ServiceError) -> ErrorData {
    let data = Some(json!({ "code": code(&error) }));
    let text = message(&error);
    match error.code {
        ErrorCode::Invalid | ErrorCode::InvalidJson | ErrorCode::TooLarge => {
            ErrorData::invalid_params(text, data)
        }
        ErrorCode::NotFound | ErrorCode::ImageNotFound => ErrorData::resource_not_found(text, data),
        _ => ErrorData::internal_error(text, data),
    }
}
