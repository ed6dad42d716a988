//! Arguments into their type, with the field's name in every refusal.

use rmcp::ErrorData;
use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Reads the arguments of `tool`; what is wrong is "invalid params", with the field in its text and in its data.
pub(crate) fn parse<T: DeserializeOwned>(tool: &str, arguments: Option<JsonObject>) -> Result<T, ErrorData> {
    let arguments = Value::Object(arguments.unwrap_or_default());
    serde_path_to_error::deserialize(arguments).map_err(|error| {
        let path = error.path().to_string();
        // Of a field that is missing or not known the text says the name; the path then is that of the whole.
        let field = if path == "." { named_in(&error.inner().to_string()) } else { path };
        invalid(&field, format!("{tool}: {field}: {}", error.into_inner()))
    })
}

/// "Invalid params" for this field.
pub(crate) fn invalid(field: &str, message: String) -> ErrorData {
    ErrorData::invalid_params(message, Some(json!({ "field": field })))
}

/// The first name between backticks.
fn named_in(text: &str) -> String {
    text.split('`').nth(1).unwrap_or("arguments").to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{ExecArguments, RunArguments};
    use super::*;

    fn refusal<T: DeserializeOwned>(arguments: Value) -> (String, String) {
        let Value::Object(arguments) = arguments else { panic!("not an object") };
        let error = parse::<T>("a_tool", Some(arguments)).err().expect("a refusal");
        (error.data.unwrap()["field"].as_str().unwrap().to_owned(), error.message.into_owned())
    }

    #[test]
    fn every_refusal_names_its_field() {
        let cases = [
            (json!({}), "command"),
            (json!({"command": 3}), "command"),
            (json!({"command": ["a", 3]}), "command"),
            (json!({"command": "ls", "timeuot_ms": 5}), "timeuot_ms"),
            (json!({"command": "ls", "timeout_ms": "5"}), "timeout_ms"),
            (json!({"command": "ls", "timeout_ms": 0}), "timeout_ms"),
            (json!({"command": "ls", "env": {"A": 1}}), "env"),
            (json!({"command": "ls", "network": "no"}), "network"),
            (json!({"command": "ls", "compatibility_mode": "cursor"}), "compatibility_mode"),
        ];
        for (arguments, field) in cases {
            let (named, message) = refusal::<RunArguments>(arguments.clone());
            assert_eq!(named.split('.').next(), Some(field), "{arguments}: {message}");
            assert!(message.contains(field), "{message}");
        }
    }

    #[test]
    fn names_of_sandboxes_are_checked() {
        for name in ["", "a/b", "..", "-a", "a b", &"x".repeat(64)] {
            let (field, _) = refusal::<ExecArguments>(json!({"name": name, "command": ["true"]}));
            assert_eq!(field, "name", "{name:?}");
        }
    }

    #[test]
    fn no_arguments_at_all_are_an_empty_object() {
        assert!(parse::<super::super::ListArguments>("sandbox_list", None).is_ok());
    }
}
