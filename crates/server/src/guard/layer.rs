//! The checks of one request, in their order.

use std::sync::Arc;

use agentkernel_api::ErrorCode;
use agentkernel_service::Caller;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tracing::Instrument as _;

use super::credentials::{Presented, presented, was_forwarded};
use super::denials::{Denials, Denied};
use super::hosts::is_preflight;
use super::{DenialSink, Door, HostRules, KeyRing};
use crate::access::{Access, access};
use crate::answer::Refusal;

/// What the guard goes by.
pub struct GuardSettings {
    /// The keys.
    pub keys: KeyRing,
    /// The names of this server, and the pages that may call it.
    pub hosts: HostRules,
    /// Whether the kernel tells whose the connections of this machine are. Where it doesn't, every user of this machine is
    /// taken for the server's own.
    pub owners_known: bool,
    /// Whether requests of other machines need no key. Only where the server's operator said so in words.
    pub open_to_all: bool,
}

/// The guard of one server. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    settings: Arc<GuardSettings>,
    denials: Denials,
}

impl Guard {
    /// With somebody who writes down what is refused.
    pub fn new(settings: GuardSettings, sink: Arc<dyn DenialSink>) -> Self {
        Self { settings: Arc::new(settings), denials: Denials::new(sink) }
    }

    /// Who asks.
    fn caller(&self, door: &Door, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let keys = &self.settings.keys;
        if matches!(door, Door::Unix { .. }) && door.is_ours() {
            return Ok(Caller::local(door.to_string()));
        }
        if !keys.is_configured() && self.needs_none(door, headers) {
            return Ok(Caller::local(door.to_string()));
        }
        if matches!(door, Door::Unix { .. }) && presented(headers) == Presented::Nothing {
            let message = "this socket is for the server's own user and root; others need an API key";
            return Err(Refusal::new(ErrorCode::Forbidden, message));
        }
        let unauthorized = |message: &str| Refusal::new(ErrorCode::Unauthorized, message);
        match presented(headers) {
            Presented::Key(key) => {
                let holder = keys.holder(key).ok_or_else(|| unauthorized("Invalid API key"))?;
                Ok(Caller {
                    name: holder.name,
                    scope: holder.scope,
                    quota: holder.quota,
                    from: door.to_string(),
                })
            }
            Presented::Unreadable => Err(unauthorized("Invalid authorization format. Use: Bearer <api_key>")),
            Presented::Nothing if keys.is_configured() => Err(unauthorized("Missing Authorization header")),
            Presented::Nothing => Err(unauthorized(
                "Missing Authorization header: without any API key this server answers its own user on this machine only; \
                 make a key with: agentkernel key create NAME",
            )),
        }
    }

    /// Without any key on the server: this machine's own user, and whoever else the operator let in.
    fn needs_none(&self, door: &Door, headers: &HeaderMap) -> bool {
        if self.settings.open_to_all {
            return true;
        }
        match door {
            // What somebody passed on may come from anywhere.
            Door::Tcp { uid, .. } => {
                door.is_local()
                    && (uid.is_none() && !self.settings.owners_known || door.is_ours())
                    && !was_forwarded(headers)
            }
            Door::Unix { .. } => false,
        }
    }

    /// All checks; the caller, where the route asks for one, and the foreign page that may read the answer.
    fn check(&self, request: &Request, door: &Door) -> Result<(Option<Caller>, Option<String>), Refused> {
        let page = self
            .settings
            .hosts
            .check(door, request.version(), request.uri(), request.headers())
            .map_err(|why| Refused::stranger(Refusal::new(ErrorCode::ForeignOrigin, why)))?;
        let preflight = page.is_some() && is_preflight(request.method(), request.headers());
        let needed = match access(request.method(), matched(request)) {
            Access::Needs(scope) if !preflight => scope,
            Access::Needs(_) | Access::Open => return Ok((None, page)),
        };
        let caller = self.caller(door, request.headers()).map_err(Refused::stranger)?;
        if caller.scope < needed {
            let why = format!(
                "this needs a key of scope {needed}, and {:?} is of scope {}",
                caller.name, caller.scope
            );
            return Err(Refused {
                refusal: Refusal::new(ErrorCode::Forbidden, why),
                caller: Some(caller.name),
            });
        }
        Ok((Some(caller), page))
    }
}

/// Why, and whose key it was.
struct Refused {
    refusal: Refusal,
    caller: Option<String>,
}

impl Refused {
    fn stranger(refusal: Refusal) -> Self {
        Self { refusal, caller: None }
    }
}

/// Puts the guard in front of all routes, those that don't exist included.
pub fn guarded(router: Router, guard: Guard) -> Router {
    router.layer(axum::middleware::from_fn_with_state(guard, pass))
}

async fn pass(
    State(guard): State<Guard>,
    door: Option<Extension<Door>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(Extension(door)) = door else {
        // Our own listeners put it there.
        tracing::error!("a request without a door");
        return Refusal::new(ErrorCode::Failed, "the server lost track of this connection").into_response();
    };
    let (caller, page) = match guard.check(&request, &door) {
        Ok(passed) => passed,
        Err(Refused { refusal, caller }) => {
            let route = format!("{} {}", request.method(), matched(&request).unwrap_or("no route"));
            guard.denials.add(Denied {
                caller: caller.as_deref(),
                door: &door,
                code: refusal.code,
                why: &refusal.message,
                route: &route,
                unwritten: 0,
            });
            guard.denials.answered();
            return refusal.into_response();
        }
    };
    let preflight = page.is_some() && is_preflight(request.method(), request.headers());
    let mut response = if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        let route = matched(&request).unwrap_or("none");
        let status = tracing::field::Empty;
        let span = tracing::info_span!("request", method = %request.method(), route, status);
        let response = next.run(request).instrument(span.clone()).await;
        span.record("status", response.status().as_u16());
        response
    };
    guard.denials.answered();
    if let Some(page) = page {
        allow_page(response.headers_mut(), &page, preflight);
    }
    response
}

/// The route that matched.
fn matched(request: &Request) -> Option<&str> {
    request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)
}

/// Lets a named page read the answer (Fetch standard, "CORS protocol"). Never with cookies: there are none.
fn allow_page(headers: &mut HeaderMap, page: &str, preflight: bool) {
    let Ok(origin) = HeaderValue::from_str(page) else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if preflight {
        let set = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, DELETE"),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "accept, authorization, content-type, last-event-id, mcp-protocol-version, mcp-session-id, x-api-key",
            ),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ];
        for (name, value) in set {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
