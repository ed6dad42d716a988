//! Single files of a sandbox.

use agentkernel_api::{Envelope, FileContent, WriteRequest};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::{FromRequest, Request, State};

use crate::answer::{Answer, ok};
use crate::extract::{Accepts, FileInside, Json, Parameters, is_type};
use crate::stream::{from_body, of_bytes};

/// The media type of a file's bytes as they are.
const RAW: &str = "application/octet-stream";

/// A file's content
///
/// In JSON as text, or as base64 where it is none; with `Accept: application/octet-stream` as it is, streamed. The path
/// is what follows `/files`, percent-encoded once.
#[utoipa::path(
    get, path = "/sandboxes/{name}/files/{*path}", tag = "files",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("path" = String, Path, description = "The file, with or without its first slash.", example = json!("tmp/a"))
    ),
    responses((status = 200, description = "The file.", content(
        (Envelope<FileContent> = "application/json"),
        (inline(super::Binary) = "application/octet-stream")
    )))
)]
pub(crate) async fn read_file(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    accepts: Accepts,
    FileInside(name, path): FileInside,
) -> Answer {
    if accepts.choose(&["application/json", RAW])? == RAW {
        return Ok(of_bytes(service.read_file(&caller, name.as_str(), &path).await?, RAW));
    }
    Ok(ok(service.read_content(&caller, name.as_str(), &path).await?))
}

/// Write a file
///
/// Whole or, where anything fails, not at all. In JSON, or with `Content-Type: application/octet-stream` as it is,
/// streamed. Missing folders are made.
#[utoipa::path(
    put, path = "/sandboxes/{name}/files/{*path}", tag = "files",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("path" = String, Path, description = "The file, with or without its first slash.", example = json!("tmp/a")),
        ("mode" = Option<String>, Query, pattern = "^[0-7]{1,4}$",
            description = "Permissions in octal, of a body that is no JSON; 0644 by default.")
    ),
    request_body(content(
        (WriteRequest = "application/json", example = json!({"content": "hello\n"})),
        (inline(super::Binary) = "application/octet-stream")
    )),
    responses((status = 200, description = "It is written.", body = Envelope<String>, content_type = "application/json",
        example = json!({"success": true, "data": "Wrote 6 bytes to /tmp/a"})))
)]
pub(crate) async fn write_file(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    FileInside(name, path): FileInside,
    parameters: Parameters,
    request: Request,
) -> Answer {
    let mode = parameters.text("mode")?;
    let written = if is_type(request.headers(), RAW) {
        let (stream, end) = from_body(request.into_body(), service.limits().max_upload_bytes);
        let written = service.write_file(&caller, name.as_str(), &path, mode, stream).await;
        written.map_err(|error| end.refusal(error))?
    } else {
        let Json(mut request) = Json::<WriteRequest>::from_request(request, &service).await?;
        request.mode = request.mode.or(mode.map(str::to_owned));
        service.write_content(&caller, name.as_str(), &path, request).await?
    };
    Ok(ok(format!("Wrote {written} bytes to {path}")))
}

/// Remove a file, or a folder
#[utoipa::path(
    delete, path = "/sandboxes/{name}/files/{*path}", tag = "files",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("path" = String, Path, description = "The file, with or without its first slash.", example = json!("tmp/a")),
        ("recursive" = Option<bool>, Query, description = "A folder with all in it.")
    ),
    responses((status = 200, description = "It is gone.", body = Envelope<String>, content_type = "application/json",
        example = json!({"success": true, "data": "Deleted /tmp/a"})))
)]
pub(crate) async fn remove_file(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    FileInside(name, path): FileInside,
    parameters: Parameters,
) -> Answer {
    service.remove_file(&caller, name.as_str(), &path, parameters.flag("recursive")?).await?;
    Ok(ok(format!("Deleted {path}")))
}
