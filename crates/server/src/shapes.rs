//! What values look like, for the OpenAPI document: what the types of a request can't say. The service checks the same
//! again when it reads a request.

use serde_json::{Map, Value, json};

/// An absolute path.
const PATH: &str = "^/[^\\x00]*$";
/// Permissions in octal.
const MODE: &str = "^(0o)?0?[0-7]{1,4}$";
/// What a process can be given: no NUL.
const WORD: &str = "^[^\\x00]*$";
const BACKEND: &str = "^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$";
const USER: &str = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$";
const PORT: &str = "^((\\[[0-9a-fA-F:]+\\]|[0-9.]+):)?([0-9]{1,5}:)?[1-9][0-9]{0,4}(/tcp)?$";

/// What a field of a request is, beyond its type. Where two requests have a field of one name, it means the same.
fn of_field(name: &str) -> Value {
    match name {
        "workdir" | "path" | "source" | "target" => json!({ "pattern": PATH, "maxLength": 4095 }),
        "mode" => json!({ "pattern": MODE }),
        "user" => json!({ "pattern": USER }),
        "backend" => json!({ "pattern": BACKEND, "maxLength": 63 }),
        "name" | "sandbox" | "as_name" => json!({ "pattern": BACKEND, "maxLength": 63 }),
        "image" => json!({ "minLength": 1 }),
        "profile" => json!({ "enum": ["permissive", "moderate", "restrictive"] }),
        "command" | "entrypoint" => json!({ "items": { "type": "string", "pattern": WORD } }),
        "ports" => json!({ "items": { "type": "string", "pattern": PORT } }),
        "timeout_ms" => json!({ "minimum": 1, "maximum": 86_400_000 }),
        "grace_ms" => json!({ "maximum": 600_000 }),
        "max_output_bytes" => json!({ "maximum": 16 << 20 }),
        "log_bytes" => json!({ "minimum": 4096, "maximum": 64_u64 << 30 }),
        "vcpus" => json!({ "minimum": 0.01, "maximum": 1024 }),
        "memory_mb" | "disk_mb" => json!({ "minimum": 1 }),
        "pids" => json!({ "minimum": 3 }),
        "open_files" => json!({ "minimum": 32 }),
        "rows" | "columns" => json!({ "maximum": 65_535 }),
        "keep_seconds" => json!({ "maximum": 86_400 }),
        "labels" => json!({ "propertyNames": { "minLength": 1 } }),
        _ => json!({}),
    }
}

/// Comments as people read them outside of the source: paragraphs in one line each, names without links.
pub(crate) fn tidy_texts(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, field)| match field {
            Value::String(text) if name == "description" || name == "summary" => {
                let paragraphs: Vec<String> =
                    text.split("\n\n").map(|part| part.replace('\n', " ")).collect();
                *text = paragraphs.join("\n\n").replace("[`", "`").replace("`]", "`");
            }
            other => tidy_texts(other),
        }),
        Value::Array(items) => items.iter_mut().for_each(tidy_texts),
        _ => {}
    }
}

/// Adds to the document what is true of values, and says once what every envelope says.
pub(crate) fn apply(document: &mut Value) {
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
    let names: Vec<String> = schemas.keys().cloned().collect();
    let command = of_batch(schemas);
    for (name, schema) in schemas.iter_mut() {
        if let Some(inner) = name.strip_prefix("Envelope_") {
            envelope(schema, inner, &names);
        } else if schema["additionalProperties"] == false {
            request(schema);
        }
    }
    schemas.insert("Environment".to_owned(), environment());
    schemas["BatchRequest"]["properties"]["commands"]["items"] =
        json!({ "$ref": "#/components/schemas/BatchCommand" });
    schemas.insert("BatchCommand".to_owned(), command);
    exec_requests(schemas);
    if let Some(error) = schemas.get_mut("ErrorBody") {
        error["properties"]["success"] = json!({ "type": "boolean", "const": false });
    }
    let detached = json!({ "$ref": "#/components/schemas/DetachedRequest" });
    let start = &mut document["paths"]["/sandboxes/{name}/execs"]["post"];
    start["requestBody"]["content"]["application/json"]["schema"] = detached;
    for item in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
                let schema = &mut parameter["schema"];
                // One that is optional is left out; there is no null in a path, a query or a header.
                if let Some(kind) = schema["type"].as_array().and_then(|kinds| kinds.first()).cloned() {
                    schema["type"] = kind;
                }
                range(schema);
            }
            if operation["parameters"].is_null() {
                operation.as_object_mut().map(|fields| fields.remove("parameters"));
            }
        }
    }
}

/// An `ExecRequest` is one type, of which each use refuses what makes no sense there.
fn exec_requests(schemas: &mut Map<String, Value>) {
    let without = |schema: &Value, fields: &[&str]| {
        let mut schema = schema.clone();
        if let Some(properties) = schema["properties"].as_object_mut() {
            properties.retain(|name, _| !fields.contains(&name.as_str()));
        }
        schema
    };
    let Some(all) = schemas.get("ExecRequest").cloned() else { return };
    schemas.insert("ExecRequest".to_owned(), without(&all, &["log_bytes"]));
    schemas.insert("DetachedRequest".to_owned(), without(&all, &["stdin", "stdin_encoding"]));
    let terminal = without(&all, &["stdin", "stdin_encoding", "encoding", "max_output_bytes", "log_bytes"]);
    schemas.insert("TerminalExecRequest".to_owned(), terminal);
    schemas["TerminalRequest"]["properties"]["exec"] =
        json!({ "$ref": "#/components/schemas/TerminalExecRequest" });
}

/// A command of a batch: a `RunRequest` whose values are checked one by one, so that a wrong one is the answer in its
/// place and not of the batch. Only its form counts for the whole.
fn of_batch(schemas: &Map<String, Value>) -> Value {
    fn loosen(value: &mut Value, schemas: &Map<String, Value>) {
        if let Some(name) = value["$ref"].as_str().and_then(|target| target.rsplit('/').next())
            && name != "Encoding"
            && let Some(target) = schemas.get(name)
        {
            *value = target.clone();
        }
        match value {
            Value::Object(fields) => {
                fields.retain(|_, field| !field.is_null());
                for word in ["minItems", "pattern", "minLength"] {
                    fields.remove(word);
                }
                if let Some(minimum) = fields.get_mut("minimum") {
                    *minimum = json!(0);
                }
                let number = fields.contains_key("format") && fields.contains_key("minimum");
                fields.values_mut().filter(|field| field.is_object() || field.is_array()).for_each(|field| {
                    loosen(field, schemas);
                });
                if number {
                    range(value);
                }
            }
            Value::Array(items) => {
                items.iter_mut().filter(|item| item.is_object()).for_each(|item| loosen(item, schemas))
            }
            _ => {}
        }
    }
    let mut command = schemas.get("RunRequest").cloned().unwrap_or_default();
    loosen(&mut command, schemas);
    command["description"] =
        json!("A `RunRequest`. One with a wrong value has an error in its place of the results.");
    command
}

fn envelope(schema: &mut Value, inner: &str, names: &[String]) {
    let (is_list, name) = inner.strip_prefix("Vec_").map_or((false, inner), |name| (true, name));
    if names.iter().any(|known| known == name) {
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        schema["properties"]["data"] =
            if is_list { json!({ "type": "array", "items": reference }) } else { reference };
    }
    schema["properties"]["success"] = json!({ "type": "boolean", "const": true });
    schema.as_object_mut().map(|fields| fields.remove("description"));
}

fn request(schema: &mut Value) {
    for (name, field) in schema["properties"].as_object_mut().into_iter().flatten() {
        range(field);
        let Value::Object(more) = of_field(name) else { continue };
        // An absent value and null are the same to the server.
        let nullable = field["type"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"));
        for (word, mut value) in more {
            if let (true, "enum", Some(choices)) = (nullable, word.as_str(), value.as_array_mut()) {
                choices.push(Value::Null);
            }
            field[&word] = value;
        }
    }
}

/// The numbers that fit: all of a request's are unsigned.
fn range(schema: &mut Value) {
    let most = match schema["format"].as_str() {
        Some("int32") => u64::from(u32::MAX),
        Some("int64") => u64::MAX,
        _ => return clean(schema),
    };
    if schema["maximum"].is_null() {
        schema["maximum"] = json!(most);
    }
    if let Some(fields) = schema.as_object_mut() {
        // These names stand for signed numbers.
        fields.remove("format");
    }
}

fn clean(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    for word in ["format", "maximum"] {
        if fields.get(word).is_some_and(Value::is_null) {
            fields.remove(word);
        }
    }
}

fn environment() -> Value {
    let value = json!({ "type": "string", "pattern": WORD });
    let name = json!({ "pattern": "^[^=\\x00]+$" });
    let entry = json!({ "type": "string", "pattern": "^[^=\\x00]+=[^\\x00]*$" });
    json!({
        "description":
            "Environment variables: an object, or a list of `NAME=VALUE`, of which the last of equal names counts.",
        "anyOf": [
            { "type": "object", "additionalProperties": value, "propertyNames": name },
            { "type": "array", "items": entry },
        ],
    })
}
