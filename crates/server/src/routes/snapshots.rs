//! Sandboxes that stand still, and copies of running ones.

use agentkernel_api::{Envelope, ForkRequest, RestoreRequest, Sandbox, Snapshot, SnapshotRequest};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;

use crate::answer::{Answer, created, ok};
use crate::extract::{Json, Named, NamedSnapshot, OptionalJson};

/// Stop a sandbox's time
///
/// What runs in it keeps its memory and gets no processor. One that is paused already is left alone.
#[utoipa::path(
    post, path = "/sandboxes/{name}/pause", tag = "snapshots",
    params(("name" = String, Path, description = "Its name.", example = json!("demo"))),
    responses((status = 200, description = "It stands still.", body = Envelope<Sandbox>))
)]
pub(crate) async fn pause_sandbox(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
) -> Answer {
    Ok(ok(service.pause(&caller, name.as_str()).await?))
}

/// Let a paused sandbox go on
///
/// One that runs is left alone.
#[utoipa::path(
    post, path = "/sandboxes/{name}/resume", tag = "snapshots",
    params(("name" = String, Path, description = "Its name.", example = json!("demo"))),
    responses((status = 200, description = "It runs.", body = Envelope<Sandbox>))
)]
pub(crate) async fn resume_sandbox(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
) -> Answer {
    Ok(ok(service.resume(&caller, name.as_str()).await?))
}

/// Copy a running sandbox
///
/// Each child has its memory, processes and files of this moment, and a name, addresses and randomness of its own. The
/// sandbox goes on. All children are made, or none. Published ports stay with the sandbox.
#[utoipa::path(
    post, path = "/sandboxes/{name}/fork", tag = "snapshots",
    params(("name" = String, Path, description = "Its name.", example = json!("demo"))),
    request_body(content = Option<ForkRequest>, example = json!({"count": 2})),
    responses((status = 200, description = "The children, which run.", body = Envelope<Vec<Sandbox>>))
)]
pub(crate) async fn fork_sandbox(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    OptionalJson(request): OptionalJson<ForkRequest>,
) -> Answer {
    Ok(ok(service.fork(&caller, name.as_str(), request).await?))
}

/// All snapshots
#[utoipa::path(
    get, path = "/snapshots", tag = "snapshots",
    responses((status = 200, description = "Ordered by name.", body = Envelope<Vec<Snapshot>>))
)]
pub(crate) async fn list_snapshots(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    Ok(ok(service.snapshots(&caller).await?))
}

/// Keep a running sandbox as it is
///
/// It stands still while its memory is written, and goes on; one that is paused stays so.
#[utoipa::path(
    post, path = "/snapshots", tag = "snapshots",
    request_body(content = SnapshotRequest, example = json!({"sandbox": "demo", "name": "installed"})),
    responses((status = 201, description = "It is kept.", body = Envelope<Snapshot>,
        headers(("Location" = String, description = "Its path."))))
)]
pub(crate) async fn take_snapshot(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<SnapshotRequest>,
) -> Answer {
    let snapshot = service.take_snapshot(&caller, request).await?;
    let location = format!("/snapshots/{}", snapshot.name);
    Ok(created(snapshot, &location))
}

/// One snapshot
#[utoipa::path(
    get, path = "/snapshots/{name}", tag = "snapshots",
    params(("name" = String, Path, description = "Its name.", example = json!("installed"))),
    responses((status = 200, description = "What is known of it.", body = Envelope<Snapshot>))
)]
pub(crate) async fn get_snapshot(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    NamedSnapshot(name): NamedSnapshot,
) -> Answer {
    Ok(ok(service.snapshot(&caller, name.as_str()).await?))
}

/// Remove a snapshot
///
/// Sandboxes that were restored from it stay. One that is not there is no error.
#[utoipa::path(
    delete, path = "/snapshots/{name}", tag = "snapshots",
    params(("name" = String, Path, description = "Its name.", example = json!("installed"))),
    responses((status = 200, description = "It is gone.", body = Envelope<String>, content_type = "application/json",
        example = json!({"success": true, "data": "Snapshot removed"})))
)]
pub(crate) async fn remove_snapshot(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    NamedSnapshot(name): NamedSnapshot,
) -> Answer {
    service.remove_snapshot(&caller, name.as_str()).await?;
    Ok(ok("Snapshot removed"))
}

/// Make a sandbox that goes on where a snapshot was taken
///
/// It runs, with a name, addresses, randomness and a clock of its own, and is called as the snapshot where no name is
/// given. Published ports are not taken over.
#[utoipa::path(
    post, path = "/snapshots/{name}/restore", tag = "snapshots",
    params(("name" = String, Path, description = "Its name.", example = json!("installed"))),
    request_body(content = Option<RestoreRequest>, example = json!({"as_name": "again"})),
    responses((status = 201, description = "It is there, and runs.", body = Envelope<Sandbox>,
        headers(("Location" = String, description = "Its path."))))
)]
pub(crate) async fn restore_snapshot(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    NamedSnapshot(name): NamedSnapshot,
    OptionalJson(request): OptionalJson<RestoreRequest>,
) -> Answer {
    let sandbox = service.restore_snapshot(&caller, name.as_str(), request).await?;
    let location = format!("/sandboxes/{}", sandbox.name);
    Ok(created(sandbox, &location))
}
