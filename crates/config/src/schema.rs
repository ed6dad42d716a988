//! The JSON schema of `agentkernel.toml`, made from the types that parse it.

use std::sync::LazyLock;

use serde_json::Value;

use crate::file::FileValues;

/// The JSON schema (draft 2020-12) of `agentkernel.toml`, for editors; checked in as `docs/config.schema.json`.
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(FileValues).to_value();
    drop_null(&mut schema);
    plain_descriptions(&mut schema);
    schema
}

/// Doc comments as editors show them: one line, without the marks of links.
fn plain_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(text)) = object.get_mut("description") {
                let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                *text = line.replace("[`", "`").replace("`]", "`");
            }
            object.values_mut().for_each(plain_descriptions);
        }
        Value::Array(values) => values.iter_mut().for_each(plain_descriptions),
        _ => {}
    }
}

/// Takes `null` out of the schema: an optional key is left out, TOML has no word for "nothing".
fn drop_null(schema: &mut Value) {
    let is_null =
        |value: &Value| value.is_null() || value == "null" || value.get("type").is_some_and(|t| t == "null");
    match schema {
        Value::Object(object) => {
            object.retain(|key, value| key != "default" || !value.is_null());
            object.values_mut().for_each(drop_null);
            for key in ["anyOf", "enum", "type"] {
                let Some(Value::Array(choices)) = object.get_mut(key) else { continue };
                choices.retain(|choice| !is_null(choice));
                if choices.len() != 1 || key == "enum" {
                    continue;
                }
                let Some(only) = choices.pop() else { continue };
                object.remove(key);
                match only {
                    Value::Object(only) => object.extend(only),
                    only => object.extend([(key.to_owned(), only)]),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(drop_null),
        _ => {}
    }
}

/// All keys with their sections: `sandbox`, `sandbox.name`, ..., `files.mode`.
pub(crate) fn known_keys() -> &'static [&'static str] {
    static KEYS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let schema = json_schema();
        let mut keys = Vec::new();
        for (section, value) in properties(&schema) {
            keys.push(leaked(section));
            for (key, value) in properties(section_schema(&schema, value)) {
                keys.push(leaked(&format!("{section}.{key}")));
                for (below, _) in properties(section_schema(&schema, value)) {
                    keys.push(leaked(&format!("{section}.{key}.{below}")));
                }
            }
        }
        keys
    });
    &KEYS
}

/// Once for the process's life; the keys are as many as the fields of the types.
fn leaked(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// The properties of an object's schema, by name.
pub(crate) fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let map = schema.get("properties").and_then(Value::as_object);
    map.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// The schema that describes a section: behind its reference, or of its entries where it is a list. An entry that may
/// be written in more than one way is described by its table form.
pub(crate) fn section_schema<'a>(root: &'a Value, section: &'a Value) -> &'a Value {
    let entries = section.get("items").unwrap_or(section);
    let target = match entries.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap_or(entries),
        None => entries,
    };
    let forms = target.get("anyOf").and_then(Value::as_array);
    forms.into_iter().flatten().find(|form| form.get("properties").is_some()).unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_types() {
        let keys = known_keys();
        for key in
            ["sandbox.name", "resources.memory_mb", "files.mode", "mounts.target", "env", "network.ports"]
        {
            assert!(keys.contains(&key), "{key} in {keys:?}");
        }
    }

    #[test]
    fn the_schema_is_written_for_editors() {
        let schema = json_schema();
        assert!(!schema.to_string().contains("null"), "{schema:#}");
        assert!(!schema.to_string().contains("[`"), "{schema:#}");
        let runtime = schema.pointer("/$defs/SandboxSection/properties/runtime").unwrap();
        assert!(
            runtime["enum"].as_array().is_some_and(|names| names.contains(&"python".into())),
            "{runtime:#}"
        );
        assert!(runtime["description"].is_string(), "{runtime:#}");
        let memory = schema.pointer("/$defs/ResourcesSection/properties/memory_mb/anyOf/0/type").unwrap();
        assert_eq!(memory, "integer");
    }

    #[test]
    fn the_checked_in_schema_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.schema.json");
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let checked_in: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(checked_in, json_schema(), "run `cargo xtask gen`");
            }
            Err(error) => println!("SKIPPED: {path}: {error}"),
        }
    }
}
