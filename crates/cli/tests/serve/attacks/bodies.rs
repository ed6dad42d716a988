//! Bodies that are too large, too deep, or no JSON at all.

use std::time::Instant;

use serde_json::json;

use crate::place::Place;
use crate::process::{PATIENCE, peak_kib};
use crate::server::Server;

const JSON: (&str, &str) = ("Content-Type", "application/json");
/// What is promised, and what nobody would take.
const TEN_GIB: &str = "10737418240";

fn head(server: &Server, target: &str, more: &str) -> Vec<u8> {
    let mut text = format!("POST {target} HTTP/1.1\r\nContent-Type: application/json\r\n{more}\r\n");
    for (name, value) in server.headers() {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

#[test]
fn ten_gigabytes_are_refused_by_their_length() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    for target in ["/run", "/batch/run", "/sandboxes", "/sandboxes/x/exec", "/sandboxes/x/mkdir"] {
        for expect in ["", "\r\nExpect: 100-continue"] {
            let mut connection = server.connect();
            let bytes = head(&server, target, &format!("Content-Length: {TEN_GIB}{expect}"));
            let answer = connection.ask(&bytes).unwrap();
            assert_eq!(answer.refusal(), (413, "too_large".to_owned()), "{target}{expect}");
        }
    }
    for length in ["18446744073709551615", "18446744073709551616", "99999999999999999999999"] {
        let answer =
            server.connect().ask(&head(&server, "/run", &format!("Content-Length: {length}"))).unwrap();
        assert!([400, 413, 431].contains(&answer.status()), "{length}: {}", answer.status());
    }
    server.assert_well();
}

#[test]
fn a_body_without_a_length_is_refused_when_it_is_too_large() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let before = peak_kib(server.pid());
    let mut connection = server.connect();
    connection.send(&head(&server, "/run", "Transfer-Encoding: chunked")).unwrap();
    let mut chunk = b"100000\r\n".to_vec();
    chunk.extend(std::iter::repeat_n(b' ', 0x10_0000));
    chunk.extend_from_slice(b"\r\n");
    let begun = Instant::now();
    let mut sent = 0;
    // JSON may begin with any number of blanks.
    while connection.send(&chunk).is_ok() {
        sent += 1;
        assert!(sent < 1024 && begun.elapsed() < PATIENCE, "{sent} MiB of blanks were taken");
    }
    // The refusal, unless the reset that goes with a body nobody reads has overtaken it.
    if let Ok(answer) = connection.answer() {
        assert_eq!(answer.refusal(), (413, "too_large".to_owned()));
    }
    let grown = peak_kib(server.pid()) - before;
    assert!(grown < 128 * 1024, "the server grew by {grown} KiB");
    server.assert_well();
}

#[test]
fn chunks_that_are_none_end_the_connection() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    for body in [
        "fffffffffffffffff\r\n",
        "-1\r\n",
        "zz\r\n",
        "\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n",
    ] {
        let mut bytes = head(&server, "/run", "Transfer-Encoding: chunked");
        bytes.extend_from_slice(body.as_bytes());
        if let Ok(answer) = server.connect().ask(&bytes) {
            assert!((400..500).contains(&answer.status()), "{body:?}: {}", answer.status());
        }
    }
    server.assert_well();
}

#[test]
fn deep_json_is_refused() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"command\":[", "]}")] {
        for depth in [1000, 100_000] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let answer = server.ask("POST", "/run", &[JSON], text.as_bytes());
            assert_eq!(answer.status(), 400, "{open} {depth} times: {}", answer.text());
            assert!(answer.body.len() < 4096, "the answer repeats what was sent");
            // Never closed: what a parser with a stack of its own would wait for.
            let answer = server.ask("POST", "/run", &[JSON], open.repeat(depth).as_bytes());
            let (status, code) = answer.refusal();
            assert!(
                status == 400 && ["invalid", "invalid_json"].contains(&&code[..]),
                "{open} {depth} times: {code}"
            );
        }
    }
    server.assert_well();
}

#[test]
fn what_is_no_json_is_refused_as_such() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    for body in [
        &b""[..],
        b"{",
        b"nul",
        b"{\"command\":[\"true\"]} {}",
        b"\xff\xfe{\0}\0",
        b"{\"command\":[\"\xff\"]}",
        b"{'a':1}",
    ] {
        let answer = server.ask("POST", "/run", &[JSON], body);
        let shown = String::from_utf8_lossy(body);
        assert_eq!(answer.refusal(), (400, "invalid_json".to_owned()), "{shown}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with("Invalid JSON: "), "{shown}");
    }
    server.assert_well();
}

#[test]
fn wrong_values_are_refused_before_anything_is_made() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let long = "x".repeat(300);
    for body in [
        json!([]),
        json!(null),
        json!({ "command": "true" }),
        json!({ "command": ["true"], "no such field": 1 }),
        json!({ "command": ["tr\u{0}ue"] }),
        json!({ "command": ["true"], "env": { "A=B": "x" } }),
        json!({ "command": ["true"], "env": { "": "x" } }),
        json!({ "command": ["true"], "env": ["no equals sign"] }),
        json!({ "command": ["true"], "env": { "A": "x\u{0}" } }),
        json!({ "command": ["true"], "workdir": "relative" }),
        json!({ "command": ["true"], "timeout_ms": 0 }),
        json!({ "command": ["true"], "timeout_ms": -1 }),
        json!({ "command": ["true"], "timeout_ms": 1e300 }),
        json!({ "command": ["true"], "memory_mb": 0 }),
        json!({ "command": ["true"], "memory_mb": 4294967296_u64 }),
        json!({ "command": ["true"], "vcpus": -1 }),
        json!({ "command": ["true"], "vcpus": 0 }),
        json!({ "command": ["true"], "stdin": "!", "stdin_encoding": "base64" }),
        json!({ "command": ["true"], "encoding": "utf-16" }),
        json!({ "command": ["true"], "backend": "no-such-backend" }),
        json!({ "command": ["true"], "image": format!("../{long}") }),
        json!({ "command": ["true"], "files": [{ "path": "../x", "content": "" }] }),
        json!({ "command": ["true"], "files": [{ "path": "/x", "content": "", "mode": "9" }] }),
    ] {
        let answer = server.post("/run", &body);
        let (status, code) = answer.refusal();
        let codes = [(400, "invalid"), (400, "invalid_json"), (422, "unsupported")];
        assert!(codes.contains(&(status, &code[..])), "{body}: {status} {}", answer.text());
    }
    for name in ["", ".", "..", "../x", "a/b", "-x", "x\u{0}", "ä", "x y", &long] {
        let (status, code) = server.post("/sandboxes", &json!({ "name": name })).refusal();
        assert_eq!((status, &code[..]), (400, "invalid"), "{name:?}");
    }
    let commands = vec![json!({ "command": ["true"] }); 1001];
    assert_eq!(server.post("/batch/run", &json!({ "commands": commands })).refusal().0, 400);
    assert_eq!(server.get("/sandboxes").data(), json!([]));
    server.assert_well();
}
