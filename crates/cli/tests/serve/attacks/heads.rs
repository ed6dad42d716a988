//! Heads that are too long, too many, or no HTTP; methods that no route has.

use std::io::Read;

use crate::connection::{Answer, Connection};
use crate::place::Place;
use crate::server::Server;

/// What the server says to these bytes, if it says anything before it closes.
fn said(server: &Server, bytes: &[u8]) -> Option<Answer> {
    server.connect().ask(bytes).ok()
}

#[track_caller]
fn assert_refused(server: &Server, what: &str, bytes: &[u8]) {
    if let Some(answer) = said(server, bytes) {
        let status = answer.status();
        assert!((400..500).contains(&status), "{what}: {status} {}", answer.text());
        assert!(answer.body.len() < 4096, "{what}: the answer repeats what was sent");
    }
}

#[test]
fn many_and_long_headers_are_refused() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let host = server.host();
    let get = |more: &str| format!("GET /sandboxes HTTP/1.1\r\nHost: {host}\r\n{more}\r\n").into_bytes();
    let many: String = (0..10_000).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_refused(&server, "10,000 headers", &get(&many));
    assert_refused(&server, "one header of 4 MiB", &get(&format!("X: {}\r\n", "y".repeat(4 << 20))));
    assert_refused(&server, "a name of 1 MiB", &get(&format!("{}: y\r\n", "x".repeat(1 << 20))));
    let long = "a".repeat(1 << 20);
    assert_refused(
        &server,
        "a path of 1 MiB",
        format!("GET /{long} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
    );
    assert_refused(
        &server,
        "a query of 1 MiB",
        format!("GET /sandboxes?{long} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
    );
    assert_refused(
        &server,
        "a method of 1 MiB",
        format!("{long} / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
    );
    server.assert_well();
}

/// A head that never ends is cut off, however fast it comes.
#[test]
fn a_head_without_end_is_cut_off() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let mut connection = server.connect();
    connection.send(format!("GET /health HTTP/1.1\r\nHost: {}\r\n", server.host()).as_bytes()).unwrap();
    let line = format!("X: {}\r\n", "y".repeat(1000)).repeat(64);
    let mut sent = 0;
    while connection.send(line.as_bytes()).is_ok() {
        sent += line.len();
        assert!(sent < 256 << 20, "{sent} bytes of head were taken");
    }
    server.assert_well();
}

#[test]
fn what_is_no_http_is_refused() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let host = server.host();
    for text in [
        "\r\n\r\n\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /health\r\n\r\n".to_owned(),
        "GET /health HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(),
        format!("GET /he\0alth HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nHost : {host}\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nHost: {host}\r\n folded: yes\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n: no name\r\nHost: {host}\r\n\r\n"),
        format!("GET ../../etc/passwd HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".repeat(100),
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n".to_owned(),
    ] {
        // What is taken for the beginning of something longer is ended from here.
        let mut connection: Connection = server.connect();
        connection.send(text.as_bytes()).unwrap();
        connection.socket().shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        let read = connection.reader().read_to_end(&mut all);
        let answer = String::from_utf8_lossy(&all);
        assert!(read.is_err() || all.is_empty() || answer.starts_with("HTTP/1.1 4"), "{text:?}: {answer}");
    }
    server.assert_well();
}

#[test]
fn methods_that_a_route_has_not_are_named_with_those_it_has() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    for (method, target, allowed) in [
        ("GET", "/run", "POST"),
        ("PUT", "/run", "POST"),
        ("PATCH", "/sandboxes", "GET"),
        ("POST", "/health", "GET"),
        ("TRACE", "/health", "GET"),
        ("PROPFIND", "/sandboxes/x", "DELETE"),
        ("POST", "/sandboxes/x/files/tmp/y", "PUT"),
    ] {
        let answer = server.ask(method, target, &[("Content-Type", "application/json")], b"{}");
        assert_eq!(answer.refusal(), (405, "method_not_allowed".to_owned()), "{method} {target}");
        let allow = answer.head.header("allow").unwrap_or_default();
        assert!(
            allow.split(", ").flat_map(|word| word.split(',')).any(|word| word == allowed),
            "{target}: {allow}"
        );
    }
    for target in
        ["/nowhere", "/sandboxes/x/nowhere", "//sandboxes", "/sandboxes/", "/SANDBOXES", "/run/../sandboxes"]
    {
        let answer = server.get(target);
        assert_eq!(answer.refusal(), (404, "not_found".to_owned()), "{target}");
    }
    server.assert_well();
}
