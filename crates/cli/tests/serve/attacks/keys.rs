//! Missing, wrong and withdrawn keys; addresses that need one.

use serde_json::{Value, json};

use crate::lab::{code, errors};
use crate::place::Place;
use crate::server::Server;

#[test]
fn only_a_whole_known_key_opens() {
    let place = Place::without_sandboxes();
    let mut server = Server::with_key(&place, "admin");
    let key = server.key.take().unwrap();
    let upper = key.to_uppercase();
    for value in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Basic dXNlcjpzZWNyZXQ=".to_owned(),
        key.clone(),
        format!("Bearer {}", &key[..key.len() - 1]),
        format!("Bearer {key}x"),
        format!("Bearer {upper}"),
        format!("Bearer {key} {key}"),
        format!("Bearer {}", "x".repeat(8000)),
        "Bearer \u{e9}".to_owned(),
    ] {
        let answer = server.ask("GET", "/sandboxes", &[("Authorization", &value)], b"");
        assert!([400, 401].contains(&answer.status()), "{value:?}: {}", answer.text());
        if answer.status() == 401 {
            assert_eq!(answer.refusal().1, "unauthorized");
            assert!(answer.head.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        }
    }
    assert_eq!(server.get("/sandboxes").refusal().0, 401);
    for target in [format!("/sandboxes?key={key}"), format!("/sandboxes?access_token={key}")] {
        assert_eq!(server.get(&target).refusal().0, 401, "keys in addresses end up in logs");
    }
    let twice = [("Authorization", "Bearer wrong"), ("Authorization", &format!("Bearer {key}")[..])];
    let answer = server.ask("GET", "/sandboxes", &twice, b"");
    assert!([400, 401].contains(&answer.status()), "two keys: {}", answer.text());
    let answer = server.ask("GET", "/sandboxes", &[("Authorization", &format!("Bearer {key}"))], b"");
    assert_eq!(answer.data(), json!([]));
    server.assert_well();
}

/// Every operation of the served description but those that it says are open.
#[test]
fn no_operation_works_without_a_key() {
    let place = Place::without_sandboxes();
    let mut server = Server::with_key(&place, "admin");
    server.key = None;
    let operations = operations(&server.get("/openapi.json").json());
    assert!(operations.len() > 30, "{operations:?}");
    for (method, target, open) in operations {
        let answer = server.ask(&method, &target, &[("Content-Type", "application/json")], b"{}");
        if open {
            assert_eq!(answer.status(), 200, "{method} {target}");
        } else {
            assert_eq!(answer.refusal(), (401, "unauthorized".to_owned()), "{method} {target}");
        }
    }
    server.assert_well();
}

/// Method, path with its parameters filled in, and whether it needs no key.
pub(super) fn operations(document: &Value) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if !["get", "put", "post", "delete", "patch", "head"].contains(&method.as_str()) {
                continue;
            }
            let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
            let target = parts.collect::<Vec<_>>().join("/");
            let security = operation.get("security").or(document.get("security"));
            let needs = |requirement: &Value| requirement.as_object().is_some_and(|names| !names.is_empty());
            let open = security
                .and_then(Value::as_array)
                .is_none_or(|requirements| requirements.is_empty() || !requirements.iter().all(needs));
            found.push((method.to_uppercase(), target, open));
        }
    }
    found
}

#[test]
fn keys_are_not_written_down() {
    let place = Place::without_sandboxes();
    let server = Server::with_key(&place, "admin");
    let key = server.key.clone().unwrap();
    server.get("/sandboxes").data();
    let secret = key.rsplit(['_', '.', ':']).next().unwrap().to_owned();
    let mut folders = vec![place.state()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(content) = std::fs::read(&path) {
                files += 1;
                let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{} holds the key", path.display());
            }
        }
    }
    assert!(files > 0);
    assert!(!place.ok(&["key", "list", "--json"]).contains(&secret));
}

#[test]
fn a_withdrawn_key_opens_no_more() {
    let place = Place::without_sandboxes();
    let mut server = Server::with_key(&place, "admin");
    server.key = Some(place.key("guest", "run"));
    crate::process::wait_until("the new key to be known", || server.get("/sandboxes").status() == 200);
    place.ok(&["key", "remove", "guest"]);
    crate::process::wait_until("the key to be forgotten", || server.get("/sandboxes").status() == 401);
    assert_ne!(code(&place.output(&["key", "remove", "guest"])), 0);
    assert_ne!(code(&place.output(&["key", "create", "mine", "--scope", "read"])), 0);
    let entries: Vec<serde_json::Value> =
        serde_json::from_str(&place.ok(&["audit", "--last", "1000", "--json"])).unwrap();
    let of_keys = entries.iter().filter(|entry| entry["type"].as_str().unwrap().starts_with("key_"));
    let told: Vec<_> =
        of_keys.map(|entry| ["type", "key", "outcome"].map(|name| entry[name].as_str().unwrap())).collect();
    let expected = [
        ["key_created", "mine", "allowed"],
        ["key_created", "guest", "allowed"],
        ["key_removed", "guest", "allowed"],
        ["key_removed", "guest", "failed"],
        ["key_created", "mine", "failed"],
    ];
    assert_eq!(told, expected);
}

#[test]
fn others_are_not_let_in_by_accident() {
    let place = Place::without_sandboxes();
    for address in ["0.0.0.0", "::"] {
        let output = place.output(&["serve", "--host", address, "--port", "0"]);
        assert_eq!(code(&output), 125, "{address}");
        let text = errors(&output);
        assert!(text.contains("key"), "{address}: {text}");
    }
}
