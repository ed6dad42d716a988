//! Requests that two readers could see as different ones: nothing of a body may be read as a request.

use std::io::Read;
use std::time::Duration;

use crate::place::Place;
use crate::server::Server;

/// After so long nothing more is awaited: what was seen as a request would have been answered.
const SILENCE: Duration = Duration::from_secs(1);

/// All that the server says to these bytes until it closes.
fn answers(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let mut connection = server.connect();
    connection.socket().set_deadline(SILENCE).unwrap();
    // Where it closes at once, what has been answered counts.
    connection.send(bytes).ok();
    let mut text = Vec::new();
    // Silence or a reset after the refusal is fine.
    connection.reader().read_to_end(&mut text).ok();
    let text = String::from_utf8_lossy(&text).into_owned();
    // An answer begins right behind the body of the one before it.
    text.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)?.parse().ok()).collect()
}

/// A request in the body of another, in each way that has fooled servers.
#[test]
fn no_request_hides_in_a_body() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let host = server.host();
    let hidden = format!("GET /nowhere HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let length = hidden.len();
    let post = |headers: &str, body: &str| {
        format!(
            "POST /run HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{body}"
        )
    };
    let both = post("Content-Length: 1", &format!("{{{hidden}"));
    assert_eq!(
        answers(&server, both.as_bytes()),
        [400, 404],
        "what stands behind a body is the next request"
    );
    for (headers, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked".to_owned(), format!("0\r\n\r\n{hidden}")),
        (
            format!("Transfer-Encoding: chunked\r\nContent-Length: {}", length + 5),
            format!("0\r\n\r\n{hidden}"),
        ),
        (format!("Content-Length: {length}\r\nContent-Length: 0"), hidden.clone()),
        (format!("Content-Length: 0\r\nContent-Length: {length}"), hidden.clone()),
        (format!("Content-Length: {length}, 0"), hidden.clone()),
        (format!("Content-Length: +{length}"), hidden.clone()),
        (format!("Content-Length: {length} 0"), hidden.clone()),
        ("Transfer-Encoding: xchunked".to_owned(), hidden.clone()),
        ("Transfer-Encoding: identity".to_owned(), hidden.clone()),
        ("Transfer-Encoding: chunked, identity".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: \u{b}chunked".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Transfer-Encoding : chunked".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("X: y\nTransfer-Encoding: chunked\nZ: z\r".to_owned(), hidden.clone()),
    ] {
        let seen = answers(&server, post(&headers, &body).as_bytes());
        // One refusal, and no answer for what was hidden; a proxy in front of us can't have been fooled.
        assert!(!seen.contains(&404), "{headers:?}: {seen:?}");
        assert!(
            seen.len() <= 1 && seen.iter().all(|status| (400..500).contains(status)),
            "{headers:?}: {seen:?}"
        );
    }
    server.assert_well();
}

/// The same in HTTP/1.0, which has no chunks.
#[test]
fn old_clients_hide_nothing_either() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    let host = server.host();
    let text = format!(
        "POST /run HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: {host}\r\n\r\n"
    );
    let seen = answers(&server, text.as_bytes());
    assert!(!seen.contains(&404) && seen.len() <= 1, "{seen:?}");
    server.assert_well();
}
