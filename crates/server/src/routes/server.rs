//! The server itself.

use agentkernel_api::{AuditRecord, Envelope, Stats, Version};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::answer::{Answer, JSON, ok};
use crate::extract::Parameters;
use crate::{docs_page, openapi};

/// How many entries of the audit log are answered where the request doesn't say.
pub(crate) const AUDIT_ENTRIES: usize = 100;
/// The most that are.
pub(crate) const MOST_AUDIT_ENTRIES: usize = 10_000;

/// Whether the server is there
#[utoipa::path(
    get, path = "/health", tag = "server",
    responses((status = 200, description = "It is.", body = Envelope<String>, content_type = "application/json",
        example = json!({"success": true, "data": "ok"})))
)]
pub(crate) async fn health() -> Response {
    let mut response = Response::new(axum::body::Body::from(r#"{"success":true,"data":"ok"}"#));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Who answers
#[utoipa::path(
    get, path = "/version", tag = "server",
    responses((status = 200, description = "Name, version, version of this contract.", body = Envelope<Version>))
)]
pub(crate) async fn version(State(service): State<Service>) -> Response {
    ok(service.version())
}

/// What the server does and has done since its start
#[utoipa::path(
    get, path = "/stats", tag = "server",
    responses((status = 200, description = "Counters and times.", body = Envelope<Stats>))
)]
pub(crate) async fn stats(State(service): State<Service>, Extension(caller): Extension<Caller>) -> Answer {
    Ok(ok(service.stats(&caller).await?))
}

/// The same for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "server",
    responses((status = 200, description = "Text exposition format, version 0.0.4.", body = String,
        content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(service): State<Service>, Extension(caller): Extension<Caller>) -> Answer {
    let text = service.metrics(&caller).await?;
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

/// The audit log's last entries, oldest first
#[utoipa::path(
    get, path = "/audit", tag = "server",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "How many; 100 by default.")),
    responses((status = 200, description = "Entries.", body = Envelope<Vec<AuditRecord>>))
)]
pub(crate) async fn audit(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Answer {
    Ok(ok(service.audit_of(&caller, None, entries(&parameters)?).await?))
}

/// How many entries of the audit log are asked for.
pub(crate) fn entries(parameters: &Parameters) -> Result<usize, crate::answer::Refusal> {
    match parameters.value::<usize>("limit")? {
        None => Ok(AUDIT_ENTRIES),
        Some(limit) if (1..=MOST_AUDIT_ENTRIES).contains(&limit) => Ok(limit),
        Some(limit) => Err(crate::answer::Refusal::invalid(format!(
            "query parameter limit={limit}: a number from 1 to {MOST_AUDIT_ENTRIES} is needed"
        ))),
    }
}

/// This contract as an OpenAPI 3.1 document
#[utoipa::path(
    get, path = "/openapi.json", tag = "server",
    responses((status = 200, description = "The document, without envelope.", content_type = "application/json"))
)]
pub(crate) async fn openapi_document() -> Response {
    ([(header::CONTENT_TYPE, JSON)], openapi::openapi_json()).into_response()
}

/// The same as a page for people
#[utoipa::path(
    get, path = "/docs", tag = "server",
    responses((status = 200, description = "One page, without scripts.", body = String, content_type = "text/html"))
)]
pub(crate) async fn docs() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, docs_page::content_security_policy()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, docs_page::page()).into_response()
}
