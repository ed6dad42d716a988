//! What happens on the server.

use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;

use super::executions::last_event_id;
use crate::answer::Answer;
use crate::extract::Parameters;
use crate::stream::of_events;

/// Follow what happens
///
/// Server-sent events, each with its kind as `event:` and its number as `id:`. A client that comes back with
/// `Last-Event-ID` goes on where it was; where that is too long ago, a `missed` event says so. Ends when the server goes
/// down, after `shutting_down`.
#[utoipa::path(
    get, path = "/events", tag = "server",
    params(
        ("follow" = Option<bool>, Query, description = "`false`: only what has happened, and then the end; `true` by default."),
        ("Last-Event-ID" = Option<u64>, Header, description = "The number of the last event that was seen.")
    ),
    responses((status = 200, description = "Events.", body = super::ServerSentEvent, content_type = "text/event-stream"))
)]
pub(crate) async fn events(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Answer {
    let after = last_event_id(&headers)?;
    let follow = parameters.value("follow")?.unwrap_or(true);
    Ok(of_events(service.subscribe(&caller, after).await?, follow))
}
