//! What an image is, whatever it is called.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The digest of an image's configuration (`sha256:` and 64 lower-case hex digits): the same content has the same id in
/// every registry, store and engine (OCI image specification, "ImageID").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ImageId(String);

/// Why a text is not an image's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image id {text:?} is not `sha256:` and 64 lower-case hex digits")]
pub struct ImageIdError {
    text: String,
}

impl ImageId {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 digits.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first 12 digits: enough for people.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl FromStr for ImageId {
    type Err = ImageIdError;
    fn from_str(text: &str) -> Result<Self, ImageIdError> {
        let is_hex =
            |hex: &str| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match text.strip_prefix("sha256:").is_some_and(is_hex) {
            true => Ok(Self(text.to_owned())),
            false => Err(ImageIdError { text: text.chars().take(80).collect() }),
        }
    }
}

impl TryFrom<String> for ImageId {
    type Error = ImageIdError;
    fn try_from(text: String) -> Result<Self, ImageIdError> {
        text.parse()
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> String {
        id.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_digests_are_ids() {
        let hex = "0123456789abcdef".repeat(4);
        let id: ImageId = format!("sha256:{hex}").parse().unwrap();
        assert_eq!((id.hex(), id.short()), (hex.as_str(), "0123456789ab"));
        for bad in [
            hex.clone(),
            "sha256:".into(),
            format!("sha256:{hex}0"),
            format!("sha256:{}", hex.to_uppercase()),
        ] {
            assert!(bad.parse::<ImageId>().is_err(), "{bad}");
        }
        assert!(format!("sha256:{}/../x", &hex[..59]).parse::<ImageId>().is_err());
    }
}
