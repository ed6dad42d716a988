//! Commands that outlive the request that started them.

use agentkernel_api::{Encoding, Envelope, ExecRequest, ExecutionInfo, KillRequest, StartedExecution};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;

use crate::answer::{Answer, Refusal, created, ok};
use crate::extract::{Accepts, Json, Named, NamedMember, OptionalJson, Parameters};
use crate::stream::{EVENT_STREAM, FRAMES, LogFormat, of_log};

/// The commands of a sandbox that run, and detached ones that have ended
#[utoipa::path(
    get, path = "/sandboxes/{name}/execs", tag = "commands",
    params(("name" = String, Path, description = "The sandbox.", example = json!("demo"))),
    responses((status = 200, description = "All of them.", body = Envelope<Vec<ExecutionInfo>>))
)]
pub(crate) async fn list_executions(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
) -> Answer {
    Ok(ok(service.executions(&caller, name.as_str()).await?))
}

/// Start a command that outlives this request
///
/// Its output is kept in a log inside the sandbox, at most `log_bytes` of it.
#[utoipa::path(
    post, path = "/sandboxes/{name}/execs", tag = "commands",
    params(("name" = String, Path, description = "The sandbox.", example = json!("demo"))),
    request_body(content = ExecRequest, example = json!({"command": ["sh", "-c", "sleep 5; echo done"]})),
    responses((status = 201, description = "It runs.", body = Envelope<StartedExecution>,
        headers(("Location" = String, description = "Its path.")),
        links(
            ("get" = (operation_id = "get_execution",
                parameters(("name" = "$response.body#/data/sandbox"), ("id" = "$response.body#/data/id")))),
            ("logs" = (operation_id = "execution_logs",
                parameters(("name" = "$response.body#/data/sandbox"), ("id" = "$response.body#/data/id"))))
        )))
)]
pub(crate) async fn start_execution(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    Json(request): Json<ExecRequest>,
) -> Answer {
    let started = service.exec_detached(&caller, name.as_str(), request).await?;
    let location = format!("/sandboxes/{name}/execs/{}", started.id);
    Ok(created(started, &location))
}

/// One command
#[utoipa::path(
    get, path = "/sandboxes/{name}/execs/{id}", tag = "commands",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("id" = String, Path, description = "The command's id.")
    ),
    responses((status = 200, description = "As it is now.", body = Envelope<ExecutionInfo>))
)]
pub(crate) async fn get_execution(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    NamedMember(name, id): NamedMember,
) -> Answer {
    Ok(ok(service.execution(&caller, name.as_str(), id.as_str()).await?))
}

/// Send a signal to a command
///
/// SIGKILL, to its whole process tree, where none is named.
#[utoipa::path(
    post, path = "/sandboxes/{name}/execs/{id}/kill", tag = "commands",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("id" = String, Path, description = "The command's id.")
    ),
    request_body(content = Option<KillRequest>, example = json!({"signal": "SIGTERM"})),
    responses((status = 200, description = "It was sent.", body = Envelope<String>, content_type = "application/json",
        example = json!({"success": true, "data": "Signal sent"})))
)]
pub(crate) async fn kill_execution(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    NamedMember(name, id): NamedMember,
    OptionalJson(request): OptionalJson<KillRequest>,
) -> Answer {
    service.kill(&caller, name.as_str(), id.as_str(), request).await?;
    Ok(ok("Signal sent"))
}

/// The log of a detached command, from any byte on
///
/// As bytes, both outputs in the order in which they were written, from `offset` on: the header
/// `agentkernel-log-start` says where they begin, which is later where older output has been dropped. With `Accept:
/// text/event-stream` as events: `output`, whose `id` is the offset behind it, `dropped` with the number of `bytes` that
/// are no longer kept, and at last `done` with `exit_code` (or `running`, without `follow`). A client that comes back with
/// `Last-Event-ID` goes on exactly where it was. With `Accept: application/vnd.agentkernel.frames` as frames, as with
/// `/run`; the end is an `ExecutionInfo`.
#[utoipa::path(
    get, path = "/sandboxes/{name}/execs/{id}/logs", tag = "commands",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("id" = String, Path, description = "The command's id."),
        ("offset" = Option<u64>, Query, minimum = 0, description = "The first byte; 0 by default."),
        ("follow" = Option<bool>, Query, description = "Until the command ends."),
        ("encoding" = Option<Encoding>, Query,
            description = "Of events: `utf8`, where it is text, or always `base64`."),
        ("Last-Event-ID" = Option<u64>, Header, description = "The `id` of the last event; wins over `offset`.")
    ),
    responses((status = 200, description = "The log.",
        headers(("agentkernel-log-start" = Option<u64>, description = "The first byte's offset; not with events.")),
        content(
            (inline(super::Binary) = "application/octet-stream"),
            (super::ServerSentEvent = "text/event-stream"),
            (inline(super::Binary) = "application/vnd.agentkernel.frames")
        )))
)]
pub(crate) async fn execution_logs(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    accepts: Accepts,
    headers: HeaderMap,
    NamedMember(name, id): NamedMember,
    parameters: Parameters,
) -> Answer {
    let encoding = match parameters.text("encoding")? {
        None | Some("utf8") => Encoding::Utf8,
        Some("base64") => Encoding::Base64,
        Some(other) => {
            let message = format!("query parameter encoding={other:?}: utf8 or base64 is needed");
            return Err(Refusal::invalid(message));
        }
    };
    let format = match accepts.choose(&["application/octet-stream", EVENT_STREAM, FRAMES])? {
        EVENT_STREAM => LogFormat::Events(encoding),
        FRAMES => LogFormat::Frames,
        _ => LogFormat::Bytes,
    };
    let offset = parameters.value("offset")?.unwrap_or(0);
    let offset = last_event_id(&headers)?.unwrap_or(offset);
    let follow = parameters.flag("follow")?;
    let logs = service.logs(&caller, name.as_str(), id.as_str(), offset, follow).await?;
    Ok(of_log(logs, offset, format))
}

/// Where a client that comes back was.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Refusal::invalid("Last-Event-ID: not the id of an event that was sent"))
}
