//! The OpenAPI document and the routes say the same.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::bench::Bench;

fn document() -> Value {
    serde_json::from_str(agentkernel_server::openapi_json()).unwrap()
}

/// A path that matches, with values for what varies.
fn example(path: &str) -> String {
    path.replace("{name}", "one").replace("{id}", "abc").replace("{port}", "80").replace("{path}", "tmp/x")
}

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];

#[tokio::test]
async fn every_route_of_the_document_is_there_and_no_other() {
    let bench = Bench::new();
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        let mut known = Vec::new();
        for method in METHODS {
            let request = Request::builder().method(&method).uri(example(path)).body(Body::empty()).unwrap();
            let response = tower::ServiceExt::oneshot(bench.router.clone(), request).await.unwrap();
            if response.status() != StatusCode::METHOD_NOT_ALLOWED {
                known.push(method.as_str().to_lowercase());
            }
        }
        let mut documented: Vec<String> = item.as_object().unwrap().keys().cloned().collect();
        known.sort_unstable();
        documented.sort_unstable();
        assert_eq!(known, documented, "{path}");
    }
}

#[tokio::test]
async fn the_access_table_names_every_route_of_the_document_and_no_other() {
    let mut documented = Vec::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = operation["security"].as_array().unwrap();
            documented.push((method.to_uppercase(), path.clone(), !security.is_empty()));
        }
    }
    let mut table: Vec<_> = agentkernel_server::routes()
        .map(|(method, path, access)| {
            (method.to_owned(), path.replace("{*", "{"), access != agentkernel_server::Access::Open)
        })
        .collect();
    documented.sort();
    table.sort();
    assert_eq!(documented, table);
}

#[tokio::test]
async fn the_document_is_served_as_it_is_checked_in() {
    let reply = Bench::new().get("/openapi.json").await;
    assert_eq!(reply.text(), agentkernel_server::openapi_json());
    assert_eq!(reply.json()["openapi"], "3.1.0");
}

#[test]
fn every_operation_is_described_with_its_errors() {
    let document = document();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{what}");
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{what}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2') || status == "101"), "{what}");
            assert!(responses.contains_key("400") && responses.contains_key("500"), "{what}");
            let variable = path.matches('{').count();
            let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            assert_eq!(parameters.iter().filter(|one| one["in"] == "path").count(), variable, "{what}");
            for parameter in parameters {
                assert!(parameter["description"].is_string(), "{what}: {parameter}");
            }
        }
    }
}

#[test]
fn the_document_is_small_enough_to_read() {
    let length = agentkernel_server::openapi_json().len();
    assert!((50_000..400_000).contains(&length), "{length} bytes");
}
