//! All routes, and what is the same for all of them: unknown paths, methods and query parameters.

use std::collections::HashMap;
use std::sync::OnceLock;

use agentkernel_api::ErrorCode;
use agentkernel_service::Service;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::ROUTES;
use crate::answer::Refusal;
use crate::extract::Parameters;
use crate::{openapi, routes};

/// The routes of a service. Handlers take the [`agentkernel_service::Caller`] out of the request's extensions: somebody
/// must have put it there who knows.
pub fn api_router(service: Service) -> Router {
    let (router, _) = routes::all().split_for_parts();
    router
        .layer(axum::middleware::from_fn(known_parameters))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(service)
}

async fn no_such_route(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(200).collect();
    Refusal::new(ErrorCode::NotFound, format!("Not found: no route {path:?}; /docs lists them"))
}

/// The router adds `Allow`.
async fn no_such_method(request: Request) -> Refusal {
    let message = format!("method {} is not known here", request.method());
    Refusal::new(ErrorCode::MethodNotAllowed, message)
}

/// Refuses query parameters that a route doesn't know.
async fn known_parameters(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if !query.is_empty()
        && let Some(matched) = request.extensions().get::<MatchedPath>()
        && let Some(known) = known(request.method(), matched.as_str())
        && let Err(refusal) = Parameters::parse(query).and_then(|parameters| parameters.only(known))
    {
        return refusal.into_response();
    }
    next.run(request).await
}

/// As the OpenAPI document has them, so that both say the same.
fn known(method: &Method, path: &str) -> Option<&'static Vec<String>> {
    static KNOWN: OnceLock<HashMap<(&str, &str), Vec<String>>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        ROUTES
            .iter()
            .map(|(method, path, _)| ((*method, *path), openapi::query_parameters(method, path)))
            .collect()
    });
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    known.iter().find(|(key, _)| **key == (method, path)).map(|(_, names)| names)
}
