//! Bytes in JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How bytes are written in a JSON string.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As text. In answers, bytes that are not UTF-8 are replaced by U+FFFD: ask for `base64` where that matters.
    #[default]
    #[serde(alias = "utf-8", alias = "text")]
    Utf8,
    /// As base64 (RFC 4648, standard alphabet, padded). Exact for all bytes.
    Base64,
}

/// Some bytes with their encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The bytes as `encoding` says.
    pub content: String,
    /// How `content` is written.
    #[serde(default)]
    pub encoding: Encoding,
}
