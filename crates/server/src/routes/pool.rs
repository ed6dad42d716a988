//! The warm pool.

use agentkernel_api::{DrainReport, Envelope, PoolStatus, WarmRequest};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;

use crate::answer::{Answer, ok};
use crate::extract::Json;

/// Which boxes wait, and who took how many
#[utoipa::path(
    get, path = "/pool", tag = "machine",
    responses((status = 200, description = "By kind.", body = Envelope<PoolStatus>))
)]
pub(crate) async fn pool_status(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    Ok(ok(service.pool_status(&caller).await?))
}

/// Make boxes ready for a kind of request
///
/// Answers when they are, or with why they can't be.
#[utoipa::path(
    post, path = "/pool/warm", tag = "machine",
    request_body(content = WarmRequest, example = json!({"image": "host", "count": 2})),
    responses((status = 200, description = "What waits now.", body = Envelope<PoolStatus>))
)]
pub(crate) async fn warm_pool(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<WarmRequest>,
) -> Answer {
    Ok(ok(service.warm(&caller, request).await?))
}

/// End all boxes that wait
#[utoipa::path(
    post, path = "/pool/drain", tag = "machine",
    responses((status = 200, description = "How many there were.", body = Envelope<DrainReport>))
)]
pub(crate) async fn drain_pool(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    Ok(ok(service.drain(&caller).await?))
}
