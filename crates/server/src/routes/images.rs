//! Images.

use agentkernel_api::{Envelope, ImageInfo, PullRequest};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;

use crate::answer::{Answer, ok};
use crate::extract::{Accepts, Json};
use crate::stream::{EVENT_STREAM, of_pull};

/// The images that are here
#[utoipa::path(
    get, path = "/images", tag = "machine",
    responses((status = 200, description = "Those of our own store.", body = Envelope<Vec<ImageInfo>>))
)]
pub(crate) async fn list_images(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    Ok(ok(service.images(&caller).await?))
}

/// Fetch an image
///
/// What is here already isn't fetched again. With `Accept: text/event-stream` as events: `progress` with a `stage` and a
/// `detail`, and at last `done` with the image, or `error`. When the client goes away, the fetch ends; the next one goes
/// on from what is here.
#[utoipa::path(
    post, path = "/images/pull", tag = "machine",
    request_body(content = PullRequest, example = json!({"image": "alpine:3.20"})),
    responses((status = 200, description = "It is here.", content(
        (Envelope<ImageInfo> = "application/json"),
        (super::ServerSentEvent = "text/event-stream")
    )))
)]
pub(crate) async fn pull_image(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    accepts: Accepts,
    Json(request): Json<PullRequest>,
) -> Answer {
    if accepts.choose(&["application/json", EVENT_STREAM])? == EVENT_STREAM {
        return Ok(of_pull(service, caller, request));
    }
    Ok(ok(service.pull(&caller, request, &()).await?))
}
