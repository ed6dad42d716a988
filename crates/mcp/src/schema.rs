//! JSON Schemas of tools, made from the types that are really read and written.
//!
//! The types describe themselves in OpenAPI's words. Clients hand tool schemas to language models whose makers support
//! different parts of JSON Schema, so what leaves here is the part that all of them know: no references, no `null`
//! beside a type, no numeric formats.

use std::collections::BTreeMap;

use rmcp::model::JsonObject;
use serde_json::Value;
use utoipa::ToSchema;

/// Deeper nesting is a type that contains itself, which no tool has.
const DEPTH: usize = 16;

/// Keywords that say nothing to a model, or that some clients refuse.
const DROPPED: [&str; 3] = ["example", "examples", "propertyNames"];

/// The schema of `T`, in itself complete.
pub(crate) fn schema_of<T: ToSchema>() -> JsonObject {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    let named = parts.into_iter().map(|(name, schema)| (name, as_json(&schema))).collect();
    let Value::Object(mut schema) = plain(as_json(&T::schema()), &named, DEPTH) else {
        return JsonObject::new();
    };
    // The tool itself says what it is for.
    schema.remove("description");
    schema
}

/// The same without the words for people: for the second name of a tool.
pub(crate) fn terse(schema: &JsonObject) -> JsonObject {
    fn strip(value: &mut Value, is_properties: bool) {
        match value {
            Value::Object(map) => {
                if !is_properties {
                    map.remove("description");
                }
                map.iter_mut().for_each(|(key, value)| strip(value, !is_properties && key == "properties"));
            }
            Value::Array(values) => values.iter_mut().for_each(|value| strip(value, false)),
            _ => {}
        }
    }
    let mut value = Value::Object(schema.clone());
    strip(&mut value, false);
    match value {
        Value::Object(schema) => schema,
        _ => JsonObject::new(),
    }
}

fn as_json(schema: &impl serde::Serialize) -> Value {
    // Maps with text keys and plain values: there is nothing in a schema that JSON can't say.
    serde_json::to_value(schema).unwrap_or_default()
}

fn plain(value: Value, named: &BTreeMap<String, Value>, depth: usize) -> Value {
    let Value::Object(mut map) = value else { return value };
    if depth == 0 {
        return Value::Object(JsonObject::new());
    }
    if let Some(Value::String(reference)) = map.remove("$ref") {
        let name = reference.rsplit('/').next().unwrap_or_default();
        let target = plain(named.get(name).cloned().unwrap_or_default(), named, depth - 1);
        return merged(target, map);
    }
    for keyword in DROPPED {
        map.remove(keyword);
    }
    if map.get("format").and_then(Value::as_str).is_some_and(is_numeric) {
        map.remove("format");
    }
    if map.get("minimum").and_then(Value::as_u64) == Some(0) {
        map.remove("minimum");
    }
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    without_null(&mut map);
    if let Some(Value::Array(parts)) = map.remove("allOf") {
        let parts = parts.into_iter().map(|part| plain(part, named, depth - 1));
        let whole = parts.reduce(together).unwrap_or_default();
        return merged(whole, map);
    }
    let choices = map.remove("oneOf").or_else(|| map.remove("anyOf"));
    if let Some(Value::Array(choices)) = choices {
        let mut choices: Vec<Value> = choices
            .into_iter()
            .filter(|choice| choice.get("type").and_then(Value::as_str) != Some("null"))
            .map(|choice| plain(choice, named, depth - 1))
            .collect();
        match choices.len() {
            1 => return merged(choices.remove(0), map),
            _ => map.insert("anyOf".to_owned(), Value::Array(choices)),
        };
    }
    if let Some(Value::Object(properties)) = map.remove("properties") {
        let properties = properties.into_iter().map(|(name, value)| (name, plain(value, named, depth - 1)));
        map.insert("properties".to_owned(), Value::Object(properties.collect()));
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = map.remove(keyword) {
            map.insert(keyword.to_owned(), plain(inner, named, depth - 1));
        }
    }
    Value::Object(map)
}

/// `target` with what stood beside the reference to it.
fn merged(target: Value, beside: JsonObject) -> Value {
    let Value::Object(mut target) = target else { return Value::Object(beside) };
    target.extend(beside);
    Value::Object(target)
}

/// A part of `allOf` with the next, which has the field's own words and may know the type less well.
fn together(part: Value, next: Value) -> Value {
    let Value::Object(mut next) = next else { return part };
    if part.get("type").is_some() || part.get("anyOf").is_some() {
        next.remove("type");
    }
    merged(part, next)
}

fn is_numeric(format: &str) -> bool {
    ["int", "uint", "float", "double"].iter().any(|start| format.starts_with(start))
}

/// Fields that may be left out are left out; `null` is never written.
fn without_null(map: &mut JsonObject) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Inner {
        /// How many.
        count: u32,
    }

    #[derive(ToSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Either {
        Text(String),
        Texts(Vec<String>),
    }

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Outer {
        /// A text.
        description: Option<String>,
        /// Another.
        inner: Option<Inner>,
        list: Vec<Inner>,
        /// One or
        /// many.
        #[schema(inline)]
        either: Either,
        variables: BTreeMap<String, String>,
    }

    #[test]
    fn references_nulls_and_formats_are_gone() {
        let schema = schema_of::<Outer>();
        let text = Value::Object(schema.clone()).to_string();
        for word in ["$ref", "null", "int32", "propertyNames", "oneOf", "allOf"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        let properties = &schema["properties"];
        assert_eq!(properties["description"]["type"], "string");
        assert_eq!(properties["inner"]["properties"]["count"]["type"], "integer");
        assert_eq!(properties["list"]["items"]["properties"]["count"]["description"], "How many.");
        assert_eq!(properties["variables"]["additionalProperties"], json!({"type": "string"}));
        assert_eq!(schema["required"], json!(["list", "either", "variables"]));
        let either = json!([{"type": "string"}, {"type": "array", "items": {"type": "string"}}]);
        assert_eq!(properties["either"], json!({"description": "One or many.", "anyOf": either}));
    }

    #[test]
    fn a_terse_schema_keeps_a_property_called_description() {
        let schema = terse(&schema_of::<Outer>());
        assert_eq!(schema["properties"]["description"], json!({"type": "string"}));
        assert!(schema["properties"]["inner"]["properties"]["count"].get("description").is_none());
    }
}
