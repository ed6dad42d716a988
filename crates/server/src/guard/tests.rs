//! The guard as a table: what is asked, from where, with what, and how it ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use agentkernel_api::{ErrorBody, ErrorCode};
use agentkernel_service::{Caller, Quota, Scope};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::routing::{any, get};
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::{DenialSink, Denied, Door, Guard, GuardSettings, HostRules, KeyRing, guarded};
use crate::keys::{KeyFile, NewKey};

#[derive(Default)]
struct Seen {
    count: AtomicU64,
    written: Mutex<Vec<(Option<String>, ErrorCode, String)>>,
}

impl DenialSink for Seen {
    fn answered(&self) {}
    fn count(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
    fn write(&self, denied: &Denied<'_>) {
        let entry = (denied.caller.map(str::to_owned), denied.code, denied.route.to_owned());
        self.written.lock().unwrap().push(entry);
    }
}

/// A server with routes that say who came through.
struct Server {
    router: Router,
    seen: Arc<Seen>,
}

async fn who(caller: Option<Extension<Caller>>) -> String {
    caller.map_or("nobody".to_owned(), |Extension(caller)| format!("{} {}", caller.name, caller.scope))
}

impl Server {
    fn new(keys: KeyRing) -> Self {
        Self::with(keys, |_| {})
    }

    fn with(keys: KeyRing, change: impl FnOnce(&mut GuardSettings)) -> Self {
        let hosts = HostRules::new(["box.example"], ["https://app.example"]).unwrap();
        let mut settings = GuardSettings { keys, hosts, owners_known: true, open_to_all: false };
        change(&mut settings);
        let seen = Arc::new(Seen::default());
        let router = Router::new()
            .route("/health", get(who))
            .route("/run", axum::routing::post(who))
            .route("/sandboxes", any(who))
            .route("/images/pull", any(who))
            .route("/sandboxes/{name}", any(who));
        Self { router: guarded(router, Guard::new(settings, Arc::<Seen>::clone(&seen))), seen }
    }

    async fn ask(&self, door: Door, method: Method, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header(header::HOST, "localhost:18888");
        }
        for (name, value) in headers.iter().filter(|(_, value)| *value != NO_HEADER) {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(door);
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn get(&self, door: Door, headers: &[(&str, &str)]) -> (u16, String) {
        self.ask(door, Method::GET, "/sandboxes", headers).await
    }
}

const NO_HEADER: &str = "(none)";

fn tcp(peer: &str, uid: Option<u32>) -> Door {
    let peer: std::net::SocketAddr = format!("{peer}:50000").parse().unwrap();
    let local = if peer.ip().is_loopback() { "127.0.0.1:18888" } else { "10.0.0.5:18888" };
    Door::Tcp { peer, local: local.parse().unwrap(), tls: false, uid }
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn mine() -> Door {
    tcp("127.0.0.1", Some(me()))
}

fn error(answer: &str) -> ErrorBody {
    serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn no_keys() -> KeyRing {
    KeyRing::new(None, None)
}

#[tokio::test]
async fn hosts_and_origins() {
    let server = Server::new(no_keys());
    let own = "http://localhost:18888";
    for (headers, fine) in [
        (&[("host", "127.0.0.1:18888")][..], true),
        (&[("host", "LocalHost.")], true),
        (&[("host", "[::1]:1")], true),
        (&[("host", "box.example:9")], true),
        (&[("host", "127.8.8.8")], true),
        // Rebinding: the page's own name, pointed at this machine.
        (&[("host", "evil.example")], false),
        (&[("host", "evil.example:18888"), ("origin", "http://evil.example:18888")], false),
        (&[("host", "localhost.evil.example")], false),
        (&[("host", "127.0.0.1.evil.example")], false),
        (&[("host", "0.0.0.0:18888")], false),
        (&[("host", "10.0.0.5")], false),
        (&[("host", "box.example.evil")], false),
        (&[("host", "user@localhost")], false),
        (&[("host", "")], false),
        (&[("host", "local host")], false),
        (&[("host", NO_HEADER)], false),
        (&[("host", "localhost"), ("host", "evil.example")], false),
        // Pages.
        (&[("origin", own)], true),
        (&[("origin", own), ("sec-fetch-site", "same-origin")], true),
        (&[("sec-fetch-site", "none")], true),
        (&[("origin", "https://app.example")], true),
        (&[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], true),
        (&[("origin", "https://app.example:443")], true),
        (&[("origin", "http://app.example")], false),
        (&[("origin", "https://app.example.evil")], false),
        (&[("origin", "http://localhost:3000")], false),
        (&[("origin", "https://localhost:18888")], false),
        (&[("origin", "null")], false),
        (&[("origin", "")], false),
        (&[("origin", "http://evil.example")], false),
        (&[("origin", own), ("origin", "http://evil.example")], false),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("sec-fetch-site", "same-site")], false),
        (&[("origin", own), ("sec-fetch-site", "cross-site")], false),
    ] {
        let (status, answer) = server.get(mine(), headers).await;
        assert_eq!(status, if fine { 200 } else { 403 }, "{headers:?}: {answer}");
        if !fine {
            assert_eq!(error(&answer).code, ErrorCode::ForeignOrigin, "{headers:?}");
        }
    }
    // Public routes are no hole.
    let (status, _) = server.ask(mine(), Method::GET, "/health", &[("host", "evil.example")]).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn the_absolute_form_names_a_host_too() {
    let server = Server::new(no_keys());
    let (status, _) = server.ask(mine(), Method::GET, "http://evil.example/sandboxes", &[]).await;
    assert_eq!(status, 403);
    let (status, _) = server.ask(mine(), Method::GET, "http://localhost:18888/sandboxes", &[]).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_address_is_a_name_where_the_client_reached_us_by_it() {
    let server = Server::with(no_keys(), |settings| settings.open_to_all = true);
    let door = tcp("10.0.0.9", None);
    for (host, status) in
        [("10.0.0.5:18888", 200), ("10.0.0.6", 403), ("evil.example", 403), ("localhost", 200)]
    {
        assert_eq!(server.get(door, &[("host", host)]).await.0, status, "{host}");
    }
}

#[tokio::test]
async fn the_unix_socket_has_any_name_but_for_browsers() {
    let server = Server::new(no_keys());
    let door = Door::Unix { uid: me() };
    assert_eq!(server.get(door, &[("host", "docker")]).await, (200, "local admin".to_owned()));
    assert_eq!(server.get(door, &[("host", NO_HEADER)]).await.0, 200);
    assert_eq!(server.get(door, &[("host", "evil.example"), ("origin", "http://evil.example")]).await.0, 403);
    assert_eq!(server.get(door, &[("host", "evil.example"), ("sec-fetch-site", "none")]).await.0, 403);
}

#[tokio::test]
async fn without_keys_only_our_own_user_on_this_machine_comes_in() {
    let server = Server::new(no_keys());
    let stranger = if me() == 0 { 1000 } else { me() + 1 };
    assert_eq!(server.get(mine(), &[]).await, (200, "local admin".to_owned()));
    assert_eq!(server.get(tcp("127.0.0.1", Some(0)), &[]).await.0, 200, "root could anyhow");
    for door in [tcp("127.0.0.1", Some(stranger)), tcp("127.0.0.1", None), tcp("10.0.0.9", None)] {
        let (status, answer) = server.get(door, &[("host", "localhost")]).await;
        assert_eq!(status, 401, "{door:?}");
        assert!(error(&answer).error.starts_with("Missing Authorization header"), "{answer}");
    }
    let (status, answer) = server.get(Door::Unix { uid: stranger }, &[]).await;
    assert_eq!((status, error(&answer).code), (403, ErrorCode::Forbidden));
    for mark in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
        assert_eq!(
            server.get(mine(), &[(mark, "1.2.3.4")]).await.0,
            401,
            "{mark}: it may come from anywhere"
        );
    }
    let blind = Server::with(no_keys(), |settings| settings.owners_known = false);
    assert_eq!(blind.get(tcp("127.0.0.1", None), &[]).await.0, 200, "where the kernel can't tell");
    assert_eq!(blind.get(tcp("127.0.0.1", Some(stranger)), &[]).await.0, 401, "where it does");
    let open = Server::with(no_keys(), |settings| settings.open_to_all = true);
    assert_eq!(open.get(tcp("10.0.0.9", None), &[]).await.0, 200, "where the operator said so");
}

#[tokio::test]
async fn keys_are_asked_for_in_the_words_of_v04() {
    let server = Server::new(KeyRing::new(None, Some("right")));
    for (headers, expected) in [
        (&[][..], "Missing Authorization header"),
        (&[("authorization", "Bearer wrong")], "Invalid API key"),
        (&[("authorization", "Bearer right2")], "Invalid API key"),
        (&[("authorization", "right")], "Invalid authorization format. Use: Bearer <api_key>"),
        (&[("authorization", "Basic right")], "Invalid authorization format. Use: Bearer <api_key>"),
        (&[("authorization", "Bearer ")], "Invalid authorization format. Use: Bearer <api_key>"),
        (&[("authorization", "")], "Invalid authorization format. Use: Bearer <api_key>"),
        (&[("x-api-key", "wrong")], "Invalid API key"),
        (&[("x-api-key", "")], "Invalid API key"),
        (
            &[("authorization", "Bearer right"), ("authorization", "Bearer right")],
            "Invalid authorization format. Use: Bearer <api_key>",
        ),
        // The first counts, so that nobody can try two at once.
        (&[("authorization", "Bearer wrong"), ("x-api-key", "right")], "Invalid API key"),
    ] {
        let (status, answer) = server.get(mine(), headers).await;
        let error = error(&answer);
        assert_eq!(
            (status, error.error.as_str(), error.code),
            (401, expected, ErrorCode::Unauthorized),
            "{headers:?}"
        );
    }
    for headers in [
        &[("authorization", "Bearer right")],
        &[("authorization", "bearer  right")],
        &[("x-api-key", "right")],
    ] {
        assert_eq!(server.get(tcp("10.0.0.9", None), headers).await, (200, "environment admin".to_owned()));
    }
    let (status, answer) = server.ask(mine(), Method::GET, "/health", &[]).await;
    assert_eq!((status, answer.as_str()), (200, "nobody"));
    assert_eq!(
        server.ask(mine(), Method::GET, "/nothing", &[]).await.0,
        401,
        "what isn't there isn't told to strangers"
    );
    assert_eq!(
        server.get(Door::Unix { uid: me() }, &[]).await.0,
        200,
        "the socket's permissions are its key"
    );
}

#[tokio::test]
async fn scopes_end_where_the_table_says() {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyFile::of(dir.path());
    let key = |scope: Scope| {
        let new = NewKey { name: format!("k-{scope}"), scope, quota: Quota::default() };
        format!("Bearer {}", file.create(&new).unwrap())
    };
    let keys = Scope::ALL.map(|scope| (scope, key(scope)));
    let server = Server::new(KeyRing::new(Some(file.clone()), None));
    for (method, path, needed) in [
        (Method::GET, "/sandboxes", Scope::Read),
        (Method::HEAD, "/sandboxes", Scope::Read),
        (Method::GET, "/sandboxes/x", Scope::Read),
        (Method::POST, "/sandboxes", Scope::Run),
        (Method::POST, "/run", Scope::Run),
        (Method::DELETE, "/sandboxes/x", Scope::Run),
        (Method::POST, "/images/pull", Scope::Admin),
    ] {
        for (scope, key) in &keys {
            let (status, answer) = server.ask(mine(), method.clone(), path, &[("authorization", key)]).await;
            assert_eq!(status, if *scope >= needed { 200 } else { 403 }, "{method} {path} {scope}: {answer}");
            if *scope < needed {
                assert_eq!(error(&answer).code, ErrorCode::Forbidden);
            }
        }
    }
    // A denial names the key and the route, and nothing that the client chose.
    let written = server.seen.written.lock().unwrap().clone();
    assert!(written.contains(&(
        Some("k-read".to_owned()),
        ErrorCode::Forbidden,
        "DELETE /sandboxes/{name}".to_owned()
    )));
    assert_eq!(written.len(), 5);
}

#[tokio::test]
async fn a_named_page_may_ask_and_read_and_no_other() {
    let server = Server::new(KeyRing::new(None, Some("right")));
    let ask = |origin: &'static str, method: Method| {
        let mut request = Request::builder().method(method).uri("/run").header("host", "localhost:18888");
        request = request.header("origin", origin).header("access-control-request-method", "POST");
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(mine());
        server.router.clone().oneshot(request)
    };
    let answer = ask("https://app.example", Method::OPTIONS).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
    let answer = ask("https://evil.example", Method::OPTIONS).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    let answer = ask("http://localhost:18888", Method::OPTIONS).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "no key, no word");
    let answer = ask("https://app.example", Method::POST).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "a named page needs a key all the same");
}
