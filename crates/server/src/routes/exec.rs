//! Commands in a sandbox that runs.

use agentkernel_api::{Envelope, ExecRequest, RunResult};
use agentkernel_model::SandboxName;
use agentkernel_service::{Caller, ExecExtra, Service};
use axum::Extension;
use axum::extract::State;

use crate::answer::{Answer, ok};
use crate::extract::{Accepts, Json, Named};
use crate::socket::{Upgrade, serve_command};
use crate::stream::{EVENT_STREAM, FRAMES, Format, of_command};

/// Run a command in a sandbox
///
/// As `/run`, but in a sandbox that runs already and goes on afterwards. When the client goes away, the command is
/// killed.
#[utoipa::path(
    post, path = "/sandboxes/{name}/exec", tag = "commands",
    params(("name" = String, Path, description = "The sandbox.", example = json!("demo"))),
    request_body(content = ExecRequest, example = json!({"command": ["echo", "hello"]})),
    responses((status = 200, description = "How it ended.", content(
        (Envelope<RunResult> = "application/json"),
        (inline(super::Binary) = "application/vnd.agentkernel.frames")
    )))
)]
pub(crate) async fn exec(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    accepts: Accepts,
    Named(name): Named,
    Json(request): Json<ExecRequest>,
) -> Answer {
    if accepts.choose(&["application/json", FRAMES])? == FRAMES {
        return start(service, caller, name, request, Format::Frames).await;
    }
    // Dropping this future, as a connection that breaks does, ends the command.
    let started = service.exec(&caller, name.as_str(), request, ExecExtra::default()).await?;
    Ok(ok(started.collect().await?))
}

/// Run a command in a sandbox and stream its output
///
/// As `/run/stream`.
#[utoipa::path(
    post, path = "/sandboxes/{name}/exec/stream", tag = "commands",
    params(("name" = String, Path, description = "The sandbox.", example = json!("demo"))),
    request_body(content = ExecRequest, example = json!({"command": ["sh", "-c", "echo one; sleep 1; echo two"]})),
    responses((status = 200, description = "The events, or frames as with `/run`.", content(
        (super::ServerSentEvent = "text/event-stream"),
        (inline(super::Binary) = "application/vnd.agentkernel.frames")
    )))
)]
pub(crate) async fn exec_stream(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    accepts: Accepts,
    Named(name): Named,
    Json(request): Json<ExecRequest>,
) -> Answer {
    let format = match accepts.choose(&[EVENT_STREAM, FRAMES])? {
        FRAMES => Format::Frames,
        _ => Format::Events,
    };
    start(service, caller, name, request, format).await
}

async fn start(
    service: Service,
    caller: Caller,
    name: SandboxName,
    request: ExecRequest,
    format: Format,
) -> Answer {
    let asked = request.command.clone();
    let starting = async move { service.exec(&caller, name.as_str(), request, ExecExtra::default()).await };
    of_command(starting, asked, format, Default::default()).await
}

/// Run a command with its input: a WebSocket
///
/// The client's first message is `{"type": "exec", "exec": {...}, "tty": [24, 80]}` with an `ExecRequest` and, for a
/// terminal, lines and columns. Then binary messages are input (their first byte is 0) and output (1 stdout, 2 stderr);
/// text messages are `ClientMessage` (resize, signal, eof) and `ServerMessage` (started, exit, error). Messages have 1
/// MiB at most. When the client goes away, the command is killed.
#[utoipa::path(
    get, path = "/sandboxes/{name}/exec/connect", tag = "commands",
    params(("name" = String, Path, description = "The sandbox.", example = json!("demo"))),
    responses((status = 101, description = "The WebSocket is open."))
)]
pub(crate) async fn exec_connect(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    Upgrade(upgrade): Upgrade,
) -> Answer {
    Ok(upgrade.on_upgrade(|socket| serve_command(socket, service, caller, name)))
}
