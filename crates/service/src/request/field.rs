//! Single values.

use std::fmt::Display;
use std::str::FromStr;

use agentkernel_model::{BoxPath, ExecId, SandboxName, Signal, SnapshotName};

use crate::ServiceError;

/// `text` as a `T`, or [`agentkernel_api::ErrorCode::Invalid`] with the field's name.
pub(crate) fn parse<T>(field: &str, text: &str) -> Result<T, ServiceError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error| ServiceError::invalid(field, error))
}

/// The name of a sandbox.
pub(crate) fn sandbox_name(text: &str) -> Result<SandboxName, ServiceError> {
    parse("name", text)
}

/// The name of a snapshot.
pub(crate) fn snapshot_name(text: &str) -> Result<SnapshotName, ServiceError> {
    parse("name", text)
}

/// A path inside a sandbox: absolute, without `..` and NUL.
pub(crate) fn box_path(field: &str, text: &str) -> Result<BoxPath, ServiceError> {
    BoxPath::new(text).map_err(|error| ServiceError::invalid(field, error))
}

/// The id of a command.
pub(crate) fn exec_id(text: &str) -> Result<ExecId, ServiceError> {
    parse("id", text)
}

/// A signal by name or number.
pub(crate) fn signal(text: &str) -> Result<Signal, ServiceError> {
    parse("signal", text)
}
