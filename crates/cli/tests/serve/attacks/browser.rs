//! Web pages: DNS rebinding, requests across origins, form posts.

use crate::connection::Answer;
use crate::place::Place;
use crate::server::Server;

fn with_host(server: &Server, target: &str, host: &str) -> Answer {
    let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    server.connect().ask(text.as_bytes()).unwrap()
}

#[test]
fn a_rebound_name_is_refused() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let port = server.address().port();
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("evil.localhost.example:{port}"),
        format!("127.0.0.1:{port}@evil.example"),
        format!("localhost:{port}.evil.example"),
        "169.254.169.254".to_owned(),
        "0.0.0.0".to_owned(),
        "xn--lcalhost-6db".to_owned(),
    ] {
        for target in ["/sandboxes", "/openapi.json", "/docs", "/health"] {
            let answer = with_host(&server, target, &host);
            assert!([400, 403].contains(&answer.status()), "{host} {target}: {}", answer.text());
            if answer.status() == 403 {
                assert_eq!(answer.refusal().1, "foreign_origin", "{host} {target}");
            }
        }
    }
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("LOCALHOST:{port}")] {
        assert_eq!(with_host(&server, "/sandboxes", &host).status(), 200, "{host}");
    }
    server.assert_well();
}

#[test]
fn no_host_and_two_hosts_are_refused() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let host = server.host();
    for text in [
        "GET /sandboxes HTTP/1.1\r\n\r\n".to_owned(),
        "GET /sandboxes HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
        format!("GET /sandboxes HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n"),
        format!("GET /sandboxes HTTP/1.1\r\nHost: evil.example\r\nHost: {host}\r\n\r\n"),
        format!("GET http://evil.example/sandboxes HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET http://{host}/sandboxes HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
    ] {
        let answer = server.connect().ask(text.as_bytes()).unwrap();
        assert!([400, 403].contains(&answer.status()), "{text:?}: {} {}", answer.status(), answer.text());
    }
    server.assert_well();
}

#[test]
fn pages_of_other_origins_are_refused() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let host = server.host();
    let body = br#"{"command":["true"]}"#;
    let json = ("Content-Type", "application/json");
    for origin in [
        "http://evil.example".to_owned(),
        "https://evil.example".to_owned(),
        "null".to_owned(),
        "file://".to_owned(),
        format!("http://{host}.evil.example"),
        "http://127.0.0.1:1".to_owned(),
        "http://localhost".to_owned(),
        "not an origin".to_owned(),
    ] {
        for (method, target) in [("POST", "/run"), ("GET", "/sandboxes"), ("DELETE", "/sandboxes/x")] {
            let body = if method == "POST" { &body[..] } else { b"" };
            let answer = server.ask(method, target, &[json, ("Origin", &origin)], body);
            assert_eq!(answer.refusal(), (403, "foreign_origin".to_owned()), "{origin} {method} {target}");
            assert_eq!(answer.head.header("access-control-allow-origin"), None);
        }
        let preflight = [("Origin", &origin[..]), ("Access-Control-Request-Method", "POST")];
        let answer = server.ask("OPTIONS", "/run", &preflight, b"");
        assert!(answer.status() >= 400, "{origin}: {}", answer.status());
        assert_eq!(answer.head.header("access-control-allow-origin"), None);
    }
    // The server's own page at /docs.
    let own = format!("http://{host}");
    assert_eq!(server.ask("GET", "/sandboxes", &[("Origin", &own)], b"").status(), 200);
    server.assert_well();
}

/// A page can post a form or text anywhere without asking first: these are the types it can send.
#[test]
fn bodies_that_a_page_can_post_unasked_are_refused() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let body = br#"{"command":["true"]}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = server.ask("POST", "/run", &[("Content-Type", kind)], body);
        assert_eq!(answer.refusal(), (415, "unsupported_media_type".to_owned()), "{kind}");
    }
    server.assert_well();
}
