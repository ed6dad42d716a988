//! What an image is made of.

use std::path::PathBuf;

use serde_json::{Value, json};

/// When everything in the images was made: the same content has the same digest on every machine.
pub(super) const MADE_AT: &str = "2026-01-01T00:00:00Z";
/// The same in seconds since 1970.
pub(super) const MADE_AT_SECONDS: &str = "1767225600";

/// One image before it is written in any format.
pub(super) struct Image {
    /// `agentkernel-test/<name>:1`.
    pub(super) name: &'static str,
    /// Uncompressed tar files, lowest first.
    pub(super) layers: Vec<PathBuf>,
    /// The `config` object of the configuration (OCI image specification, `config.md`).
    pub(super) config: Value,
}

impl Image {
    /// The whole configuration for these layers.
    pub(super) fn configuration(&self, diff_ids: &[String]) -> Value {
        let history: Vec<Value> = diff_ids
            .iter()
            .map(|_| json!({ "created": MADE_AT, "created_by": "cargo xtask test-bed" }))
            .collect();
        json!({
            "created": MADE_AT,
            "architecture": architecture(),
            "os": "linux",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        })
    }

    /// As a user would name it.
    pub(super) fn reference(&self) -> String {
        format!("agentkernel-test/{}:1", self.name)
    }
}

/// As image configurations name it (GOARCH).
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
