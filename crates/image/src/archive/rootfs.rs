//! A tar of a root folder: one layer, and a configuration that we write.

use std::collections::BTreeMap;

use agentkernel_model::{ByteString, ImageConfig};
use serde::Serialize;

use crate::{Digest, Platform};

#[derive(Serialize)]
struct Document {
    architecture: String,
    os: &'static str,
    config: BTreeMap<&'static str, serde_json::Value>,
    rootfs: RootFs,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: [Digest; 1],
}

/// The configuration of an image of the one layer `diff_id`. The same layer and `config` always give the same image.
pub(crate) fn config_document(
    diff_id: Digest,
    platform: &Platform,
    config: &ImageConfig,
) -> Result<Vec<u8>, String> {
    let text = |bytes: &ByteString| {
        String::from_utf8(bytes.0.clone())
            .map_err(|_| format!("{bytes:?} is not UTF-8, which images must be"))
    };
    let texts = |all: &[ByteString]| all.iter().map(text).collect::<Result<Vec<_>, _>>();
    let env = config.env.iter().map(|var| Ok(format!("{}={}", text(&var.name)?, text(&var.value)?)));
    let mut process = BTreeMap::new();
    let mut put = |name, words: Vec<String>| {
        if !words.is_empty() {
            process.insert(name, serde_json::Value::from(words));
        }
    };
    put("Entrypoint", texts(&config.entrypoint)?);
    put("Cmd", texts(&config.command)?);
    put("Env", env.collect::<Result<_, String>>()?);
    if let Some(workdir) = &config.workdir {
        let workdir = workdir.as_path().to_str().ok_or("the working directory is not UTF-8")?;
        process.insert("WorkingDir", workdir.into());
    }
    if let Some(user) = &config.user {
        process.insert("User", user.to_string().into());
    }
    let platform = platform.to_string();
    let architecture = platform.split('/').nth(1).unwrap_or_default().to_owned();
    let rootfs = RootFs { kind: "layers", diff_ids: [diff_id] };
    serde_json::to_vec(&Document { architecture, os: "linux", config: process, rootfs })
        .map_err(|error| error.to_string())
}
