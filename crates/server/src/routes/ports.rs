//! TCP ports of a sandbox.

use agentkernel_api::{Envelope, PortInfo};
use agentkernel_service::{Caller, Service};
use axum::Extension;
use axum::extract::State;

use crate::answer::{Answer, ok};
use crate::extract::{Named, NamedPort};
use crate::socket::{Upgrade, serve_tunnel};

/// Where the published ports of a sandbox listen on the server's machine
#[utoipa::path(
    get, path = "/sandboxes/{name}/ports", tag = "ports",
    params(("name" = String, Path, description = "The sandbox.", example = json!("demo"))),
    responses((status = 200, description = "Empty where it doesn't run.", body = Envelope<Vec<PortInfo>>))
)]
pub(crate) async fn list_ports(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
) -> Answer {
    Ok(ok(service.ports(&caller, name.as_str()).await?))
}

/// Connect to a TCP port inside, published or not: a WebSocket
///
/// Binary messages are the connection's bytes, both ways. The text message `{"type": "eof"}` ends the client's direction.
/// The WebSocket is closed when the sandbox's direction has ended.
#[utoipa::path(
    get, path = "/sandboxes/{name}/ports/{port}", tag = "ports",
    params(
        ("name" = String, Path, description = "The sandbox.", example = json!("demo")),
        ("port" = u16, Path, minimum = 1, maximum = 65535, description = "The port inside, on its loopback.", example = json!(8000))
    ),
    responses((status = 101, description = "The WebSocket is open."))
)]
pub(crate) async fn connect_port(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    NamedPort(name, port): NamedPort,
    Upgrade(upgrade): Upgrade,
) -> Answer {
    let inside = service.connect_port(&caller, name.as_str(), port).await?;
    Ok(upgrade.on_upgrade(|socket| serve_tunnel(socket, inside)))
}
