//! What an engine says of an image that it has, checked as if a registry had said it: the same stranger wrote it.

use agentkernel_model::ImageConfig;

use crate::config_document::ConfigDocument;

/// The configuration in an engine's description of an image (Docker API, `GET /images/{name}/json`, field `Config`). The
/// error says why it can't be used.
pub fn engine_config(config: &serde_json::Value) -> Result<ImageConfig, String> {
    let document = serde_json::json!({ "os": "linux", "config": config });
    ConfigDocument::parse(document.to_string().as_bytes()).map(|document| document.config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_word_is_checked() {
        let good = serde_json::json!({"Cmd": ["sh"], "Env": ["A=b"], "WorkingDir": "/x", "User": "1:2"});
        let config = engine_config(&good).unwrap();
        assert_eq!(config.env.len(), 1);
        assert_eq!(engine_config(&serde_json::Value::Null).unwrap(), ImageConfig::default());
        assert!(engine_config(&serde_json::json!({"Env": ["novalue"]})).is_err());
        assert!(engine_config(&serde_json::json!({"Cmd": ["a\u{0}b"]})).is_err());
    }
}
