//! A program that knows only the documented routes and shapes of version 0.4.

use std::process::Command;

use crate::lab::shown;
use crate::place::{Place, script};
use crate::server::Server;

/// Every route says so.
const ROUTES: [&str; 10] = [
    "GET /health",
    "POST /run",
    "POST /run/stream",
    "POST /batch/run",
    "/sandboxes",
    "POST /sandboxes/{name}/exec",
    "/sandboxes/{name}/files/{path}",
    "GET /sandboxes/{name}/logs",
    "DELETE /sandboxes/{name}",
    "unknown routes",
];

fn walk(server: &Server) -> Option<String> {
    let address = server.address();
    let mut python = Command::new("python3");
    python.arg(script("version_0_4_client.py")).args([address.ip().to_string(), address.port().to_string()]);
    python.arg(server.key.as_deref().unwrap_or("-"));
    let output = match python.output() {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED: the client of version 0.4: python3: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", shown(&output));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_client_of_version_0_4_works_unchanged() {
    let Some(place) = Place::with_image("the client of version 0.4") else { return };
    let server = Server::start(&place);
    let Some(printed) = walk(&server) else { return };
    assert_eq!(printed.lines().collect::<Vec<_>>(), ROUTES);
}

#[test]
fn a_client_of_version_0_4_works_with_a_key() {
    let Some(place) = Place::with_image("the client of version 0.4 with a key") else { return };
    let server = Server::with_key(&place, "admin");
    let Some(printed) = walk(&server) else { return };
    assert!(printed.contains("Authorization\n"), "{printed}");
    assert_eq!(printed.lines().count(), ROUTES.len() + 1);
}

#[test]
fn the_key_of_version_0_4_still_comes_from_the_environment() {
    let place = Place::without_sandboxes();
    let mut command = place.command(&["serve", "--port", "0"]);
    command.env("AGENTKERNEL_API_KEY", "the-key-of-version-0.4");
    let mut server = Server::of(&place, command);
    assert_eq!(server.get("/sandboxes").refusal(), (401, "unauthorized".to_owned()));
    server.key = Some("the-key-of-version-0.4".to_owned());
    assert_eq!(server.get("/sandboxes").data(), serde_json::json!([]));
}
