//! One command in a sandbox of its own.

use std::sync::Arc;

use agentkernel_api::{BatchRequest, BatchResults, Envelope, RunRequest, RunResult};
use agentkernel_service::{Caller, Input, Service};
use axum::Extension;
use axum::extract::State;

use crate::answer::{Answer, ok};
use crate::extract::{Accepts, Json};
use crate::stream::{EVENT_STREAM, FRAMES, Format, Reports, of_command};

/// Run a command in a sandbox of its own
///
/// The sandbox is removed when the command has ended. A command that fails is a 200 with its exit code. When the client
/// goes away, the command is killed. With `Accept: application/vnd.agentkernel.frames` the output comes as it is made:
/// frames of one byte kind (1 stdout, 2 stderr, 3 the end with this result as JSON, 4 an error as JSON), three zero
/// bytes, the length as four bytes (big-endian), and the content.
#[utoipa::path(
    post, path = "/run", tag = "run",
    request_body(content = RunRequest, example = json!({"command": ["echo", "hello"]})),
    responses((status = 200, description = "How it ended.", content(
        (Envelope<RunResult> = "application/json"),
        (inline(super::Binary) = "application/vnd.agentkernel.frames")
    )))
)]
pub(crate) async fn run(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    accepts: Accepts,
    Json(request): Json<RunRequest>,
) -> Answer {
    if accepts.choose(&["application/json", FRAMES])? == FRAMES {
        return start(service, caller, request, Format::Frames).await;
    }
    // Dropping this future, as a connection that breaks does, ends the command.
    Ok(ok(service.run(&caller, request, Input::Request).await?.collect().await?))
}

/// Run a command in a sandbox of its own and stream its output
///
/// Server-sent events: `started`, `progress`, `output`, and at last `done` with the exit code, or `error` where the
/// command could not be run. Output leaves as it is made; when the client goes away, the command is killed.
#[utoipa::path(
    post, path = "/run/stream", tag = "run",
    request_body(content = RunRequest, example = json!({"command": ["sh", "-c", "echo one; sleep 1; echo two"]})),
    responses((status = 200, description = "The events, or frames as with `/run`.", content(
        (super::ServerSentEvent = "text/event-stream"),
        (inline(super::Binary) = "application/vnd.agentkernel.frames")
    )))
)]
pub(crate) async fn run_stream(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    accepts: Accepts,
    Json(request): Json<RunRequest>,
) -> Answer {
    let format = match accepts.choose(&[EVENT_STREAM, FRAMES])? {
        FRAMES => Format::Frames,
        _ => Format::Events,
    };
    start(service, caller, request, format).await
}

async fn start(service: Service, caller: Caller, request: RunRequest, format: Format) -> Answer {
    let asked = request.command.clone();
    let reports = Arc::new(Reports::default());
    let told = Arc::clone(&reports);
    let starting = async move { service.run_watched(&caller, request, Input::Request, &*told).await };
    of_command(starting, asked, format, reports).await
}

/// Run several commands at once, each in a sandbox of its own
///
/// The results are in the order of the commands. A command that could not be run has an `error` in its place.
#[utoipa::path(
    post, path = "/batch/run", tag = "run",
    request_body(content = BatchRequest, example = json!({"commands": [{"command": ["echo", "1"]}, {"command": ["echo", "2"]}]})),
    responses((status = 200, description = "One result each.", body = Envelope<BatchResults>))
)]
pub(crate) async fn run_batch(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<BatchRequest>,
) -> Answer {
    Ok(ok(service.batch(&caller, request).await?))
}
