//! The variable parts of a route's path. They have been percent-decoded once, by the router.

use std::str::FromStr;

use agentkernel_model::{ExecId, SandboxName, SnapshotName};
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use crate::answer::Refusal;

/// `/sandboxes/{name}...`
pub(crate) struct Named(pub(crate) SandboxName);

/// `/snapshots/{name}...`
pub(crate) struct NamedSnapshot(pub(crate) SnapshotName);

/// `/sandboxes/{name}/.../{id}`: a command or a terminal of the sandbox. Their ids have one form.
pub(crate) struct NamedMember(pub(crate) SandboxName, pub(crate) ExecId);

/// `/sandboxes/{name}/ports/{port}`.
pub(crate) struct NamedPort(pub(crate) SandboxName, pub(crate) u16);

/// `/sandboxes/{name}/files/{*path}`; the path begins with one slash, whether the client sent it or not.
pub(crate) struct FileInside(pub(crate) SandboxName, pub(crate) String);

async fn parameters<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, Refusal> {
    RawPathParams::from_request_parts(parts, state).await.map_err(|error| Refusal::invalid(error.body_text()))
}

fn part<'a>(parameters: &'a RawPathParams, wanted: &str) -> &'a str {
    parameters.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)
}

fn parsed<T: FromStr>(parameters: &RawPathParams, wanted: &str) -> Result<T, Refusal>
where
    T::Err: std::fmt::Display,
{
    part(parameters, wanted).parse().map_err(|error| Refusal::invalid(format!("{wanted}: {error}")))
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parsed(&parameters(parts, state).await?, "name").map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamedSnapshot {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parsed(&parameters(parts, state).await?, "name").map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamedMember {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let parameters = parameters(parts, state).await?;
        Ok(Self(parsed(&parameters, "name")?, parsed(&parameters, "id")?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamedPort {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let parameters = parameters(parts, state).await?;
        let name = parsed(&parameters, "name")?;
        match part(&parameters, "port").parse() {
            Ok(port) if port > 0 => Ok(Self(name, port)),
            _ => Err(Refusal::invalid(format!(
                "port: {:?} is not a port: a number from 1 to 65535 is",
                part(&parameters, "port")
            ))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FileInside {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let parameters = parameters(parts, state).await?;
        let path = part(&parameters, "path").trim_start_matches('/');
        Ok(Self(parsed(&parameters, "name")?, format!("/{path}")))
    }
}
