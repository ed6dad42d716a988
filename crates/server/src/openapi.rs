//! The OpenAPI 3.1 document: what the handlers say of themselves, and what is true of all of them and said once here:
//! who may call, which errors there are, what a name looks like.

use std::sync::OnceLock;

use agentkernel_api::{ClientMessage, ErrorBody, Event, ServerMessage, StreamEvent};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::access::{Access, ROUTES};
use crate::{routes, shapes};

/// Sandbox names and ids, as `agentkernel_model` checks them.
const NAME_PATTERN: &str = "^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$";

const INTRODUCTION: &str = "\
Run commands in secure isolated sandboxes.

Every JSON answer is an envelope: `{\"success\": true, \"data\": ...}` or `{\"success\": false, \"error\": \"...\", \
\"code\": \"...\"}`. A command that ran and failed is no error: its exit code is in a 200. Requests with unknown fields \
or query parameters are refused.

A key goes into `Authorization: Bearer KEY` or `X-API-Key: KEY`. Its scope (read, run or admin) decides which routes it \
may use.";

/// The document, pretty-printed, with a line break at its end.
pub fn openapi_json() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| format!("{:#}\n", document()))
}

/// The document.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| complete(routes::all().into_openapi()))
}

/// The query parameters that a route knows.
pub(crate) fn query_parameters(method: &str, path: &str) -> Vec<String> {
    let method = method.to_ascii_lowercase();
    let operation = &document()["paths"][shown(path)][method];
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let names = parameters.iter().filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str());
    names.map(str::to_owned).collect()
}

/// A route's path as OpenAPI writes it.
fn shown(path: &str) -> String {
    path.replace("{*", "{")
}

/// A schema with all that it refers to.
fn schemas_of<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}

fn complete(mut generated: utoipa::openapi::OpenApi) -> Value {
    // What no handler names: the answer to every refused request, and what goes over WebSockets.
    let more = [schemas_of::<ErrorBody>(), schemas_of::<StreamEvent>(), schemas_of::<Event>()];
    let sockets = [schemas_of::<ClientMessage>(), schemas_of::<ServerMessage>()];
    let components = generated.components.get_or_insert_with(Default::default);
    components.schemas.extend(more.into_iter().chain(sockets).flatten());
    let mut document = serde_json::to_value(generated).unwrap_or_default();
    document["openapi"] = json!("3.1.0");
    document["info"] = json!({
        "title": "agentkernel",
        "version": env!("CARGO_PKG_VERSION"),
        "description": INTRODUCTION,
        "license": { "name": "MIT", "identifier": "MIT" },
    });
    document["servers"] = json!([{ "url": "/", "description": "the server that sent this document" }]);
    document["tags"] =
        routes::TAGS.iter().map(|(name, text)| json!({ "name": name, "description": text })).collect();
    document["components"]["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "A key, as `agentkernel key create` prints it." },
        "key": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key." },
    });
    let paths = std::mem::take(&mut document["paths"]);
    let Value::Object(paths) = paths else { return document };
    let mut complete = Map::new();
    for (path, mut item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            finish(&path, method, operation);
        }
        complete.insert(shown(&path), item);
    }
    document["paths"] = Value::Object(complete);
    shapes::apply(&mut document);
    shapes::tidy_texts(&mut document);
    document
}

/// What every operation has.
fn finish(path: &str, method: &str, operation: &mut Value) {
    let method = method.to_ascii_uppercase();
    let access = ROUTES.iter().find(|(known, route, _)| *known == method && *route == path);
    let access = access.map_or(Access::Open, |(_, _, access)| *access);
    operation["security"] = match access {
        Access::Open => json!([]),
        Access::Needs(scope) => json!([{ "bearer": [scope.as_str()] }, { "key": [scope.as_str()] }]),
    };
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        if parameter["in"] == "path" && (name == "name" || name == "id") {
            parameter["schema"] = json!({ "type": "string", "pattern": NAME_PATTERN, "maxLength": 63 });
        }
    }
    let has_body = !operation["requestBody"].is_null();
    for (status, description) in errors(path, access, has_body) {
        let response = &mut operation["responses"][status];
        if response.is_null() {
            *response = refused(status, description);
        }
    }
    // What is no OpenAPI field must not be left behind by the questions above.
    for field in ["requestBody", "parameters"] {
        if operation[field].is_null() {
            operation.as_object_mut().map(|fields| fields.remove(field));
        }
    }
}

/// The errors that a route can answer with, besides those that it names itself.
fn errors(path: &str, access: Access, has_body: bool) -> Vec<(&'static str, &'static str)> {
    let mut errors = vec![
        ("400", "The request is wrong: its syntax, a field, a value, a path."),
        ("403", "The key's scope doesn't reach that far, or a browser sent this for a foreign page."),
        ("406", "None of the formats in `Accept` is to be had."),
        ("408", "The request did not arrive in time."),
        ("500", "A step failed."),
        ("503", "Too much at once, the backend isn't ready, or the server is going down."),
    ];
    if access != Access::Open {
        errors.push(("401", "No key, or one that is not known."));
        errors.push(("429", "The key's quota is used up."));
    }
    if has_body {
        errors.push(("413", "The body is too large."));
        errors.push(("415", "The body's type is not known."));
    }
    if path.contains("{name}")
        || path.starts_with("/run")
        || path == "/sandboxes"
        || path == "/batch/run"
        || path == "/snapshots"
    {
        errors.extend([
            ("404", "No such sandbox, snapshot, file, execution, terminal or image."),
            ("409", "The sandbox isn't in the right phase, somebody is changing it, or the name is taken."),
            ("422", "The backend can't enforce or provide what was asked for. Nothing was changed."),
            ("502", "The sandbox broke the protocol or came to an end."),
        ]);
    } else if path.starts_with("/images/") || path.starts_with("/pool/") {
        errors.extend([("404", "No such image."), ("422", "The backend can't provide it.")]);
    }
    errors
}

/// How OpenAPI shows the answer to a refused request.
fn refused(status: &str, description: &str) -> Value {
    let mut response = json!({
        "description": description,
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } },
    });
    if status == "429" || status == "503" {
        response["headers"] = json!({
            "Retry-After": { "description": "Seconds.", "schema": { "type": "integer", "minimum": 1 } }
        });
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    for (name, field) in fields {
                        match field.as_str().filter(|_| name == "$ref") {
                            Some(target) => found.push(target.to_owned()),
                            None => references(field, found),
                        }
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(document(), &mut found);
        assert!(found.len() > 50);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document().pointer(pointer).is_some(), "{target}");
        }
    }

    #[test]
    fn requests_are_closed() {
        for schema in [
            "RunRequest",
            "ExecRequest",
            "CreateRequest",
            "WriteRequest",
            "TerminalRequest",
            "WarmRequest",
            "SnapshotRequest",
            "RestoreRequest",
            "ForkRequest",
        ] {
            let schema = &document()["components"]["schemas"][schema];
            assert_eq!(schema["additionalProperties"], json!(false), "{schema:#}");
        }
    }

    #[test]
    fn the_name_pattern_is_the_model_s() {
        // The pattern, spelled out: what it matches is what the model takes.
        for (name, valid) in
            [("a", true), ("a-b_c", true), ("-a", false), ("a-", false), ("", false), ("a.b", false)]
        {
            assert_eq!(name.parse::<agentkernel_model::SandboxName>().is_ok(), valid, "{name}");
        }
    }
}
