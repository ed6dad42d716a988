//! What the server's machine can do.

use agentkernel_api::{BackendInfo, Envelope};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;

use crate::answer::{Answer, ok};

/// The backends of this build, and which are ready
#[utoipa::path(
    get, path = "/backends", tag = "machine",
    responses((status = 200, description = "In the order in which they are tried.", body = Envelope<Vec<BackendInfo>>))
)]
pub(crate) async fn backends(State(service): State<Service>, Extension(caller): Extension<Caller>) -> Answer {
    Ok(ok(service.backends(&caller).await?))
}
