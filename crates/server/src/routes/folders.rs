//! What is where in a sandbox, and new folders.

use agentkernel_api::{DirectoryEntry, DirectoryRequest, Envelope};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;

use crate::answer::{Answer, ok};
use crate::extract::{Json, Named, Parameters};

/// What is known of one file or folder
///
/// Links are not followed.
#[utoipa::path(
    get, path = "/sandboxes/{name}/stat", tag = "files",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("path" = String, Query, pattern = "^/", description = "Absolute, inside.", example = json!("/tmp/a"))
    ),
    responses((status = 200, description = "It.", body = Envelope<DirectoryEntry>))
)]
pub(crate) async fn stat(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    parameters: Parameters,
) -> Answer {
    Ok(ok(service.stat(&caller, name.as_str(), parameters.required("path")?).await?))
}

/// The entries of a folder
#[utoipa::path(
    get, path = "/sandboxes/{name}/list", tag = "files",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("path" = String, Query, pattern = "^/", description = "Absolute, inside.", example = json!("/tmp"))
    ),
    responses((status = 200, description = "Ordered by name.", body = Envelope<Vec<DirectoryEntry>>))
)]
pub(crate) async fn list_directory(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    parameters: Parameters,
) -> Answer {
    Ok(ok(service.list_dir(&caller, name.as_str(), parameters.required("path")?).await?))
}

/// Make a folder and its parents
///
/// One that is there already is left alone.
#[utoipa::path(
    post, path = "/sandboxes/{name}/mkdir", tag = "files",
    params(("name" = String, Path, description = "The sandbox.", example = json!("demo"))),
    request_body(content = DirectoryRequest, example = json!({"path": "/tmp/work"})),
    responses((status = 200, description = "It is there.", body = Envelope<String>, content_type = "application/json",
        example = json!({"success": true, "data": "Made /tmp/work"})))
)]
pub(crate) async fn make_directory(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    Json(request): Json<DirectoryRequest>,
) -> Answer {
    let path = request.path.clone();
    service.make_dir(&caller, name.as_str(), request).await?;
    Ok(ok(format!("Made {path}")))
}
