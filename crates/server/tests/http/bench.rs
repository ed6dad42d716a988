//! A server without a connection, and one with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::Registry;
use agentkernel_config::Environment;
use agentkernel_engine::Engine;
use agentkernel_server::api_router;
use agentkernel_service::{Caller, Limits, NoAudit, Service, ServiceSettings};
use agentkernel_store::Store;
use agentkernel_testkit::fake::FakeBackend;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::{Extension, Router};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// A service with its routes.
pub(crate) struct Bench {
    _dir: tempfile::TempDir,
    pub(crate) fake: FakeBackend,
    pub(crate) service: Service,
    pub(crate) router: Router,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The answer within the envelope.
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.text());
        let mut json = self.json();
        assert_eq!(json["success"], true);
        json["data"].take()
    }

    /// The error within the envelope.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        let json = self.json();
        assert_eq!((&json["success"], &json["code"]), (&Value::Bool(false), &Value::from(code)), "{json}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        json["error"].as_str().unwrap().to_owned()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(FakeBackend::new(), Limits::default())
    }

    pub(crate) fn with(fake: FakeBackend, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("state");
        let mut backends = Registry::new();
        backends.add(Arc::new(fake.clone()), true);
        let store = Store::open(&state_dir).unwrap().with_patience(Duration::from_secs(20));
        let environment = Environment {
            cwd: dir.path().to_owned(),
            home: None,
            user: None,
            uid: 0,
            vars: Vec::new(),
            interactive_stdin: false,
            interactive_stdout: false,
            interactive_stderr: false,
        };
        let settings =
            ServiceSettings { environment, config: None, limits, version: "1.2.3", state_dir, images: None };
        let service = Service::new(Engine::open(store, backends), None, Arc::new(NoAudit), settings).unwrap();
        let router = api_router(service.clone()).layer(Extension(Caller::local("test")));
        Self { _dir: dir, fake, service, router }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Request::delete(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(post(path, &body, "*/*")).await
    }

    /// A sandbox that runs.
    pub(crate) async fn sandbox(&self, name: &str) {
        let reply = self.post("/sandboxes", serde_json::json!({"name": name, "image": "host"})).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    }

    /// The same routes behind a real connection.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// Waits until nothing is left of any command.
    pub(crate) async fn idle(&self) {
        let idle = async {
            while !self.fake.objects().is_empty() {
                // sleep: between two looks at the fake's machine, which tells nobody
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(20), idle).await;
        assert!(done.is_ok(), "left: {:?}", self.fake.objects());
    }
}

pub(crate) fn post(path: &str, body: &Value, accept: &str) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, accept)
        .body(Body::from(body.to_string()))
        .unwrap()
}
