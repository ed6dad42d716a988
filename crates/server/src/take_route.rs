//! `POST /pool/take`: a box that waits goes to a command of the server's own user. On the unix socket only, since that
//! carries descriptors; what is said there is written down in [`agentkernel_pool::ask`]'s module.

use std::os::fd::AsFd as _;

use agentkernel_api::ErrorCode;
use agentkernel_pool::{PATH, Pool, TakeRequest, UPGRADE};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE as UPGRADE_HEADER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::UnixSocket;
use crate::answer::Refusal;
use crate::guard::Door;

/// The longest description of a box.
const LONGEST_BODY: usize = 256 << 10;

/// The route. Whoever is let in gets what this process's user owns, so nobody else is.
pub fn take_route(pool: Pool) -> Router {
    Router::new().route(PATH, post(move |request: Request| take(pool, request)))
}

async fn take(pool: Pool, mut request: Request) -> Response {
    let door = request.extensions().get::<Door>().copied();
    let own = rustix::process::geteuid().as_raw();
    let socket = match (door, request.extensions_mut().remove::<UnixSocket>()) {
        (Some(Door::Unix { uid }), Some(socket)) if uid == own => socket,
        _ => {
            let message = "sandboxes are handed over to the server's own user only, by its unix socket";
            return Refusal::new(ErrorCode::Forbidden, message).into_response();
        }
    };
    let asks = request.headers().get(UPGRADE_HEADER).is_some_and(|asked| asked == UPGRADE);
    if !asks {
        let message = format!("a request for {PATH} is upgraded: send Upgrade: {UPGRADE}");
        return Refusal::new(ErrorCode::Invalid, message).into_response();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let invalid = |what: String| Refusal::new(ErrorCode::Invalid, what).into_response();
    let body = match axum::body::to_bytes(request.into_body(), LONGEST_BODY).await {
        Ok(body) => body,
        Err(error) => return invalid(format!("the body could not be read: {error}")),
    };
    let wanted: TakeRequest = match serde_json::from_slice(&body) {
        Ok(wanted) => wanted,
        Err(error) => return invalid(format!("the body is no sandbox: {error}")),
    };
    let Some(made) = pool.answer(&wanted) else { return StatusCode::NO_CONTENT.into_response() };
    tokio::spawn(async move {
        let given = match (upgrade.await, socket.0.as_fd().try_clone_to_owned()) {
            (Ok(_upgraded), Ok(socket)) => {
                // Held open until the box is on its way.
                pool.give_away(made, socket).await.map_err(|error| error.to_string())
            }
            // Dropped, the box ends.
            (Err(error), _) => Err(error.to_string()),
            (_, Err(error)) => Err(error.to_string()),
        };
        if let Err(error) = given {
            tracing::debug!(error, "a sandbox could not be handed over");
        }
    });
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE_HEADER, HeaderValue::from_static(UPGRADE));
    answer
}
