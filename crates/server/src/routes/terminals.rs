//! Terminals, which live on when their client has gone.

use agentkernel_api::{Envelope, TerminalInfo, TerminalRequest};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;

use crate::answer::{Answer, created, ok};
use crate::extract::{Json, Named, NamedMember};
use crate::socket::{Upgrade, serve_terminal};

/// The terminals of a sandbox
#[utoipa::path(
    get, path = "/sandboxes/{name}/terminals", tag = "terminals",
    params(("name" = String, Path, description = "The sandbox.", example = json!("demo"))),
    responses((status = 200, description = "All of them.", body = Envelope<Vec<TerminalInfo>>))
)]
pub(crate) async fn list_terminals(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
) -> Answer {
    Ok(ok(service.list_terminals(&caller, name.as_str()).await?))
}

/// Open a terminal
///
/// It ends with its command, when it is closed, or when nobody has been attached for `keep_seconds`.
#[utoipa::path(
    post, path = "/sandboxes/{name}/terminals", tag = "terminals",
    params(("name" = String, Path, description = "The sandbox.", example = json!("demo"))),
    request_body(content = TerminalRequest, example = json!({"exec": {"command": ["sh"]}, "rows": 24, "columns": 80})),
    responses((status = 201, description = "It is open.", body = Envelope<TerminalInfo>,
        headers(("Location" = String, description = "Its path."))))
)]
pub(crate) async fn open_terminal(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    Json(request): Json<TerminalRequest>,
) -> Answer {
    let terminal = service.open_terminal(&caller, name.as_str(), request).await?;
    let location = format!("/sandboxes/{name}/terminals/{}", terminal.id);
    Ok(created(terminal, &location))
}

/// Attach to a terminal: a WebSocket
///
/// The first message is `{"type": "attached", "id": ..., "dropped": ...}`; then comes the end of what the terminal has
/// shown so far, and what it shows from now on, as binary messages whose first byte is 1. Input goes the same way, with a
/// first byte of 0; `resize` and `signal` are text messages. At last `exit`, or `taken` where somebody else has attached.
/// When the client goes away, the terminal lives on.
#[utoipa::path(
    get, path = "/sandboxes/{name}/terminals/{id}", tag = "terminals",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("id" = String, Path, description = "The terminal's id.")
    ),
    responses((status = 101, description = "The WebSocket is open."))
)]
pub(crate) async fn attach_terminal(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    NamedMember(name, id): NamedMember,
    Upgrade(upgrade): Upgrade,
) -> Answer {
    let attached = service.attach_terminal(&caller, name.as_str(), id.as_str()).await?;
    Ok(upgrade.on_upgrade(|socket| serve_terminal(socket, attached)))
}

/// Close a terminal and end its command
#[utoipa::path(
    delete, path = "/sandboxes/{name}/terminals/{id}", tag = "terminals",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("id" = String, Path, description = "The terminal's id.")
    ),
    responses((status = 200, description = "It is closed.", body = Envelope<String>, content_type = "application/json",
        example = json!({"success": true, "data": "Terminal closed"})))
)]
pub(crate) async fn close_terminal(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    NamedMember(name, id): NamedMember,
) -> Answer {
    service.close_terminal(&caller, name.as_str(), id.as_str()).await?;
    Ok(ok("Terminal closed"))
}
