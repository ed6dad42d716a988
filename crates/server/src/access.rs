//! Who may use which route: the one table. The guard asks it, and the OpenAPI document is written from it.

use agentkernel_service::Scope;
use axum::http::Method;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it says nothing about anybody's sandboxes.
    Open,
    /// A caller of this scope, or a wider one. A caller without a key has one only where the server gives it one.
    Needs(Scope),
}

const READ: Access = Access::Needs(Scope::Read);
const RUN: Access = Access::Needs(Scope::Run);
const ADMIN: Access = Access::Needs(Scope::Admin);

/// Every route: method, path as the router matches it, and who may use it. HEAD goes with GET.
pub(crate) const ROUTES: &[(&str, &str, Access)] = &[
    ("GET", "/health", Access::Open),
    ("GET", "/version", Access::Open),
    ("GET", "/openapi.json", Access::Open),
    ("GET", "/docs", Access::Open),
    ("GET", "/metrics", READ),
    ("GET", "/stats", READ),
    ("GET", "/events", READ),
    ("GET", "/backends", READ),
    ("GET", "/images", READ),
    ("POST", "/images/pull", ADMIN),
    ("GET", "/pool", READ),
    ("POST", "/pool/warm", ADMIN),
    ("POST", "/pool/drain", ADMIN),
    ("GET", "/audit", ADMIN),
    ("POST", "/run", RUN),
    ("POST", "/run/stream", RUN),
    ("POST", "/batch/run", RUN),
    ("GET", "/sandboxes", READ),
    ("POST", "/sandboxes", RUN),
    ("GET", "/sandboxes/{name}", READ),
    ("DELETE", "/sandboxes/{name}", RUN),
    ("POST", "/sandboxes/{name}/start", RUN),
    ("POST", "/sandboxes/{name}/stop", RUN),
    ("POST", "/sandboxes/{name}/pause", RUN),
    ("POST", "/sandboxes/{name}/resume", RUN),
    ("POST", "/sandboxes/{name}/fork", RUN),
    ("GET", "/snapshots", READ),
    ("POST", "/snapshots", RUN),
    ("GET", "/snapshots/{name}", READ),
    ("DELETE", "/snapshots/{name}", RUN),
    ("POST", "/snapshots/{name}/restore", RUN),
    ("POST", "/sandboxes/{name}/exec", RUN),
    ("POST", "/sandboxes/{name}/exec/stream", RUN),
    ("GET", "/sandboxes/{name}/exec/connect", RUN),
    ("GET", "/sandboxes/{name}/execs", READ),
    ("POST", "/sandboxes/{name}/execs", RUN),
    ("GET", "/sandboxes/{name}/execs/{id}", READ),
    ("POST", "/sandboxes/{name}/execs/{id}/kill", RUN),
    ("GET", "/sandboxes/{name}/execs/{id}/logs", READ),
    ("GET", "/sandboxes/{name}/terminals", READ),
    ("POST", "/sandboxes/{name}/terminals", RUN),
    ("GET", "/sandboxes/{name}/terminals/{id}", RUN),
    ("DELETE", "/sandboxes/{name}/terminals/{id}", RUN),
    ("GET", "/sandboxes/{name}/logs", READ),
    ("GET", "/sandboxes/{name}/processes", READ),
    ("GET", "/sandboxes/{name}/ports", READ),
    ("GET", "/sandboxes/{name}/ports/{port}", RUN),
    ("GET", "/sandboxes/{name}/files/{*path}", READ),
    ("PUT", "/sandboxes/{name}/files/{*path}", RUN),
    ("DELETE", "/sandboxes/{name}/files/{*path}", RUN),
    ("GET", "/sandboxes/{name}/stat", READ),
    ("GET", "/sandboxes/{name}/list", READ),
    ("POST", "/sandboxes/{name}/mkdir", RUN),
    ("GET", "/sandboxes/{name}/archive", READ),
    ("PUT", "/sandboxes/{name}/archive", RUN),
];

/// Who may use the route that matched (`axum::extract::MatchedPath`). Where none did, the answer (404, 405) is for those
/// only who may look at all.
pub fn access(method: &Method, matched: Option<&str>) -> Access {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let Some(path) = matched else { return READ };
    let found = ROUTES.iter().find(|(known, route, _)| *route == path && *known == method);
    found.map_or(READ, |(_, _, access)| *access)
}

/// Every route of the API: method, path as the router matches it, and who may use it.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str, Access)> {
    ROUTES.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_as_get_and_what_is_unknown_needs_a_key() {
        assert_eq!(access(&Method::HEAD, Some("/health")), Access::Open);
        assert_eq!(access(&Method::GET, Some("/audit")), ADMIN);
        assert_eq!(access(&Method::POST, Some("/health")), READ);
        assert_eq!(access(&Method::GET, None), READ);
    }

    #[test]
    fn no_route_is_named_twice() {
        for (index, (method, path, _)) in ROUTES.iter().enumerate() {
            assert!(
                !ROUTES[..index].iter().any(|(other, route, _)| other == method && route == path),
                "{path}"
            );
        }
    }
}
