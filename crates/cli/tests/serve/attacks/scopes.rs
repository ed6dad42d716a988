//! Keys that reach for more than their scope.

use serde_json::{Value, json};

use super::keys::operations;
use crate::place::Place;
use crate::server::Server;
use crate::web_socket::WebSocket;

const FORBIDDEN: (u16, &str) = (403, "forbidden");

#[track_caller]
fn assert_forbidden(server: &Server, target: &str, body: &Value) {
    let (status, code) = server.post(target, body).refusal();
    assert_eq!((status, &code[..]), FORBIDDEN, "{target} {body}");
}

#[test]
fn a_key_that_may_read_changes_nothing() {
    let place = Place::without_sandboxes();
    let mut server = Server::with_key(&place, "read");
    for target in ["/sandboxes", "/stats", "/backends", "/images", "/pool"] {
        server.get(target).data();
    }
    for (method, target, open) in operations(&server.get("/openapi.json").json()) {
        if open || method == "GET" {
            continue;
        }
        let answer = server.ask(&method, &target, &[("Content-Type", "application/json")], b"{}");
        let (status, code) = answer.refusal();
        assert_eq!((status, &code[..]), FORBIDDEN, "{method} {target}");
    }
    let key = format!("Bearer {}", server.key.as_ref().unwrap());
    let host = server.host();
    for target in ["/sandboxes/x/exec/connect", "/sandboxes/x/terminals/1", "/sandboxes/x/ports/80"] {
        let refused = WebSocket::open(&server.door, target, &[("Host", &host), ("Authorization", &key)]);
        assert_eq!(refused.err().map(|head| head.status), Some(403), "{target}");
    }
    server.assert_well();
}

#[test]
fn a_key_that_may_run_gets_nothing_of_the_host() {
    let place = Place::without_sandboxes();
    let mut server = Server::with_key(&place, "run");
    let secret = place.path("secret");
    std::fs::write(&secret, "not for everybody").unwrap();
    let mounts = json!([{ "source": place.path("."), "target": "/mnt", "read_only": true }]);
    let wishes = [
        json!({ "profile": "permissive" }),
        json!({ "profile": "Permissive" }),
        json!({ "mounts": mounts }),
        json!({ "allow_unlimited": true }),
    ];
    for wish in &wishes {
        let mut run = wish.clone();
        run["command"] = json!(["cat", "/mnt/secret"]);
        let mut create = wish.clone();
        create["name"] = json!("greedy");
        for (target, body) in [
            ("/run", run.clone()),
            ("/run/stream", run.clone()),
            ("/batch/run", json!({ "commands": [run] })),
            ("/sandboxes", create),
        ] {
            let answer = server.post(target, &body);
            let text = answer.text();
            assert!(!text.contains("not for everybody"), "{target} {body}: {text}");
            // A batch and a stream may have begun to answer; in any other case it is an error.
            let refused = if answer.status() == 200 {
                text.contains("forbidden") || text.contains("scope") || text.contains("profile")
            } else {
                [400, 403].contains(&answer.status())
            };
            assert!(refused, "{target} {body}: {} {text}", answer.status());
        }
    }
    for wish in [&wishes[0], &wishes[2], &wishes[3]] {
        let mut create = wish.clone();
        create["name"] = json!("greedy");
        assert_forbidden(&server, "/sandboxes", &create);
    }
    for port in ["0.0.0.0:8080:80", "[::]:8080:80"] {
        assert_forbidden(&server, "/sandboxes", &json!({ "name": "greedy", "ports": [port] }));
    }
    assert_eq!(server.get("/sandboxes").data(), json!([]), "nothing was made");
    server.assert_well();
}

#[test]
fn a_key_that_may_run_rules_nobody() {
    let place = Place::without_sandboxes();
    let mut server = Server::with_key(&place, "run");
    assert_forbidden(&server, "/images/pull", &json!({ "image": "alpine" }));
    assert_forbidden(&server, "/pool/warm", &json!({ "count": 1 }));
    assert_forbidden(&server, "/pool/drain", &json!({}));
    assert_eq!(server.get("/audit").refusal(), (403, "forbidden".to_owned()));
    server.assert_well();
}

/// What the command line asks of the daemon has no place on the network, whatever the key.
#[test]
fn the_daemon_s_own_routes_are_not_on_the_network() {
    let place = Place::without_sandboxes();
    let mut server = Server::with_key(&place, "admin");
    for target in ["/shutdown", "/pool/take"] {
        let upgrade = [("Connection", "Upgrade"), ("Upgrade", "agentkernel-box")];
        let answer = server.ask("POST", target, &upgrade, b"");
        assert!([403, 404].contains(&answer.status()), "{target}: {} {}", answer.status(), answer.text());
    }
    server.assert_well();
}
