//! Whole folders as tar streams.

use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::{Request, State};

use crate::answer::{Answer, ok};
use crate::extract::{Named, Parameters, is_type, wrong_type};
use crate::stream::{from_body, of_bytes};

/// The media type.
const TAR: &str = "application/x-tar";

/// A file or folder with all in it, as a tar stream
///
/// POSIX pax. Entries are named from the path's last part on. A failure after the stream has begun cuts the connection.
#[utoipa::path(
    get, path = "/sandboxes/{name}/archive", tag = "files",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("path" = String, Query, pattern = "^/", description = "Absolute, inside.", example = json!("/tmp"))
    ),
    responses((status = 200, description = "The stream.", body = inline(super::Binary), content_type = "application/x-tar"))
)]
pub(crate) async fn read_archive(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    parameters: Parameters,
) -> Answer {
    let stream = service.tar_out(&caller, name.as_str(), parameters.required("path")?).await?;
    Ok(of_bytes(stream, TAR))
}

/// Unpack a tar stream into a folder
///
/// The folder is made where it is missing. What is unpacked is owned by root inside.
#[utoipa::path(
    put, path = "/sandboxes/{name}/archive", tag = "files",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("path" = String, Query, pattern = "^/", description = "Absolute, inside.", example = json!("/tmp"))
    ),
    request_body(content = inline(super::Binary), content_type = "application/x-tar"),
    responses((status = 200, description = "It is unpacked.", body = agentkernel_api::Envelope<String>,
        content_type = "application/json", example = json!({"success": true, "data": "Unpacked into /tmp"})))
)]
pub(crate) async fn write_archive(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    parameters: Parameters,
    request: Request,
) -> Answer {
    if !is_type(request.headers(), TAR) {
        return Err(wrong_type(request.headers(), TAR));
    }
    let path = parameters.required("path")?;
    let (stream, end) = from_body(request.into_body(), service.limits().max_upload_bytes);
    service.tar_in(&caller, name.as_str(), path, stream).await.map_err(|error| end.refusal(error))?;
    Ok(ok(format!("Unpacked into {path}")))
}
