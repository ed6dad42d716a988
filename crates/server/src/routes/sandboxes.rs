//! Sandboxes that stay.

use agentkernel_api::{AuditRecord, CreateRequest, Envelope, ProcessInfo, Sandbox, StopRequest};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;

use super::server::entries;
use crate::answer::{Answer, Refusal, created, ok};
use crate::extract::{Json, Named, OptionalJson, Parameters};

/// All sandboxes
#[utoipa::path(
    get, path = "/sandboxes", tag = "sandboxes",
    params(("label" = Option<Vec<String>>, Query, pattern = "^[^=]+(=.*)?$", example = json!("team=blue"),
        description = "Only those with this label (`KEY=VALUE`, or `KEY` with any value); all of them where it is given \
            more than once.")),
    responses((status = 200, description = "Ordered by name.", body = Envelope<Vec<Sandbox>>))
)]
pub(crate) async fn list_sandboxes(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Answer {
    let labels: Vec<String> = parameters.all("label").map(str::to_owned).collect();
    if labels.iter().any(|label| label.is_empty() || label.starts_with('=')) {
        return Err(Refusal::invalid("query parameter label: KEY=VALUE or KEY is needed"));
    }
    Ok(ok(service.list(&caller, &labels).await?))
}

/// Make a sandbox
///
/// It is started at once, unless `start` is false. The name is made up where it is left out.
#[utoipa::path(
    post, path = "/sandboxes", tag = "sandboxes",
    request_body(content = CreateRequest, example = json!({"name": "demo", "image": "host"})),
    responses((status = 201, description = "It is there.", body = Envelope<Sandbox>,
        headers(("Location" = String, description = "Its path.")),
        links(
            ("get" = (operation_id = "get_sandbox", parameters(("name" = "$response.body#/data/name")))),
            ("exec" = (operation_id = "exec", parameters(("name" = "$response.body#/data/name")))),
            ("remove" = (operation_id = "remove_sandbox", parameters(("name" = "$response.body#/data/name"))))
        )))
)]
pub(crate) async fn create_sandbox(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<CreateRequest>,
) -> Answer {
    let sandbox = service.create(&caller, request).await?;
    let location = format!("/sandboxes/{}", sandbox.name);
    Ok(created(sandbox, &location))
}

/// One sandbox
#[utoipa::path(
    get, path = "/sandboxes/{name}", tag = "sandboxes",
    params(("name" = String, Path, description = "Its name.", example = json!("demo"))),
    responses((status = 200, description = "As it is now.", body = Envelope<Sandbox>))
)]
pub(crate) async fn get_sandbox(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
) -> Answer {
    Ok(ok(service.info(&caller, name.as_str()).await?))
}

/// Remove a sandbox, running or not
///
/// One that is not there is no error.
#[utoipa::path(
    delete, path = "/sandboxes/{name}", tag = "sandboxes",
    params(("name" = String, Path, description = "Its name.", example = json!("demo"))),
    responses((status = 200, description = "It is gone.", body = Envelope<String>, content_type = "application/json",
        example = json!({"success": true, "data": "Sandbox removed"})))
)]
pub(crate) async fn remove_sandbox(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
) -> Answer {
    service.remove(&caller, name.as_str(), true).await?;
    Ok(ok("Sandbox removed"))
}

/// Start a sandbox
///
/// One that runs already is left alone.
#[utoipa::path(
    post, path = "/sandboxes/{name}/start", tag = "sandboxes",
    params(("name" = String, Path, description = "Its name.", example = json!("demo"))),
    responses((status = 200, description = "It runs.", body = Envelope<Sandbox>))
)]
pub(crate) async fn start_sandbox(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
) -> Answer {
    Ok(ok(service.start(&caller, name.as_str()).await?))
}

/// Stop a sandbox; its files stay
///
/// Its commands get SIGTERM, and SIGKILL when the grace is over. One that is stopped already is left alone.
#[utoipa::path(
    post, path = "/sandboxes/{name}/stop", tag = "sandboxes",
    params(("name" = String, Path, description = "Its name.", example = json!("demo"))),
    request_body(content = Option<StopRequest>, example = json!({"grace_ms": 2000})),
    responses((status = 200, description = "It is stopped.", body = Envelope<Sandbox>))
)]
pub(crate) async fn stop_sandbox(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    OptionalJson(request): OptionalJson<StopRequest>,
) -> Answer {
    Ok(ok(service.stop(&caller, name.as_str(), request).await?))
}

/// What was done with a sandbox: its entries in the audit log, oldest first
#[utoipa::path(
    get, path = "/sandboxes/{name}/logs", tag = "sandboxes",
    params(
        ("name" = String, Path, description = "Its name.", example = json!("demo")),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "How many; 100 by default.")
    ),
    responses((status = 200, description = "Entries.", body = Envelope<Vec<AuditRecord>>))
)]
pub(crate) async fn sandbox_logs(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    parameters: Parameters,
) -> Answer {
    let records = service.audit_of(&caller, Some(name.as_str()), entries(&parameters)?).await?;
    if records.is_empty() {
        // Of one that was removed there are entries; where there are none, it may never have been.
        service.info(&caller, name.as_str()).await?;
    }
    Ok(ok(records))
}

/// All processes of a sandbox
#[utoipa::path(
    get, path = "/sandboxes/{name}/processes", tag = "sandboxes",
    params(("name" = String, Path, description = "Its name.", example = json!("demo"))),
    responses((status = 200, description = "As the sandbox sees them.", body = Envelope<Vec<ProcessInfo>>))
)]
pub(crate) async fn list_processes(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
) -> Answer {
    Ok(ok(service.processes(&caller, name.as_str()).await?))
}
