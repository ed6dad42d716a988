//! `/events`: what happens on the server, as it happens.

use agentkernel_api::EventKind;
use agentkernel_service::EventStream;
use axum::response::Response;
use futures_util::stream::unfold;

use super::keep_alive::with_keep_alive;
use super::sse;

/// The name that an event's kind has on the wire.
fn name(kind: EventKind) -> String {
    serde_json::to_value(kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The answer with these events: to the server's end with `follow`, else with those that have happened.
pub(crate) fn of_events(events: EventStream, follow: bool) -> Response {
    with_keep_alive(unfold(Some(events), move |events| async move {
        let mut events = events?;
        let event = if follow { events.next().await } else { events.next_kept()? };
        let text = sse::event(&name(event.kind), Some(&event.id.to_string()), &*event);
        // The last one there will be: the connection is not to hold up the server's end.
        let more = event.kind != EventKind::ShuttingDown;
        Some((text, more.then_some(events)))
    }))
}
