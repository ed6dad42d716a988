//! `POST /shutdown`: what `agentkernel daemon stop` asks. On the unix socket only.

use std::sync::Arc;

use agentkernel_api::ErrorCode;
use agentkernel_service::{Caller, Scope};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};

use crate::answer::{Refusal, ok};
use crate::guard::Door;

/// The route; `begin` starts the end and returns at once.
pub fn shutdown_route(begin: Arc<dyn Fn() + Send + Sync>) -> Router {
    Router::new().route(
        "/shutdown",
        post(move |Extension(door): Extension<Door>, Extension(caller): Extension<Caller>| async move {
            end(&door, &caller, &*begin)
        }),
    )
}

fn end(door: &Door, caller: &Caller, begin: &(dyn Fn() + Send + Sync)) -> Response {
    if !matches!(door, Door::Unix { .. }) || caller.scope < Scope::Admin {
        let message = "only the server's own user ends it, by its unix socket: agentkernel daemon stop";
        return Refusal::new(ErrorCode::Forbidden, message).into_response();
    }
    tracing::info!(by = %door, "asked to end");
    begin();
    ok("shutting down")
}
