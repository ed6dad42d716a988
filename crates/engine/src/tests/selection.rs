//! Which backend is chosen, and what is said where none is.

use std::sync::Arc;

use agentkernel_backend::Registry;
use agentkernel_store::Store;
use agentkernel_testkit::fake::FakeBackend;

use super::{Bench, name, spec};
use crate::{Engine, ErrorKind};

fn engine(backends: Vec<(FakeBackend, bool)>) -> (tempfile::TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let mut registry = Registry::new();
    for (backend, automatic) in backends {
        registry.add(Arc::new(backend), automatic);
    }
    let store = Store::open(&dir.path().join("state")).unwrap();
    (dir, Engine::open(store, registry))
}

fn absent(name: &str) -> FakeBackend {
    FakeBackend::new().named(name).not_ready("no daemon", "start the daemon")
}

#[tokio::test]
async fn the_first_that_is_ready_and_automatic_wins() {
    let ready = |name: &str| FakeBackend::new().named(name);
    let (_dir, engine) = engine(vec![
        (ready("hosted"), false),
        (absent("first"), true),
        (ready("second"), true),
        (ready("third"), true),
    ]);
    assert_eq!(engine.select(None).await.unwrap().name().as_str(), "second");
    let named = engine.select(Some(&"hosted".parse().unwrap())).await.unwrap();
    assert_eq!(named.name().as_str(), "hosted");
    let reports = engine.backends().await;
    let selected: Vec<_> = reports.iter().map(|report| report.selected).collect();
    assert_eq!(selected, [false, false, true, false]);
    let json = serde_json::to_value(&reports[1]).unwrap();
    assert_eq!(json["probe"]["state"], "not-ready");
    assert_eq!(json["probe"]["fix"], "start the daemon");
}

#[tokio::test]
async fn a_named_one_that_isnt_ready_says_why_and_doesnt_fall_back() {
    let (_dir, engine) = engine(vec![(absent("first"), true), (FakeBackend::new(), true)]);
    let error = engine.select(Some(&"first".parse().unwrap())).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no daemon; start the daemon"), "{error}");
}

#[tokio::test]
async fn an_unknown_name_lists_the_known() {
    let (_dir, engine) = engine(vec![(absent("first"), true), (FakeBackend::new(), true)]);
    let error = engine.select(Some(&"dokcer".parse().unwrap())).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("first, fake"), "{error}");
}

#[tokio::test]
async fn where_none_is_ready_each_says_why() {
    let (_dir, engine) = engine(vec![(absent("first"), true), (FakeBackend::new().named("hosted"), false)]);
    let error = engine.select(None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(
        text.contains("first: no daemon; start the daemon") && text.contains("--backend hosted"),
        "{text}"
    );
}

#[tokio::test]
async fn a_sandbox_stays_with_its_backend() {
    let bench = Bench::new();
    bench.engine.create(&name("a"), spec(), &[]).await.unwrap();
    assert!(bench.engine.backend_of(&name("a"), None).is_ok());
    assert!(bench.engine.backend_of(&name("a"), Some(&"fake".parse().unwrap())).is_ok());
    let error = bench.engine.backend_of(&name("a"), Some(&"other".parse().unwrap())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("\"fake\" and can't be used with \"other\""), "{error}");
}

#[tokio::test]
async fn a_record_of_a_backend_that_this_build_lacks_is_shown_and_noted() {
    let bench = Bench::new();
    bench.engine.create(&name("a"), spec(), &[]).await.unwrap();
    let store = bench.engine.store().clone();
    let (_dir, other) = engine(vec![(FakeBackend::new().named("other"), true)]);
    let other = Engine::open(store, other.inner.backends.clone());
    let view = other.info(&name("a")).await.unwrap();
    assert!(view.problem.unwrap().contains("unknown backend \"fake\""));
    assert_eq!(other.recover().await.unwrap(), crate::Recovered::default());
}
