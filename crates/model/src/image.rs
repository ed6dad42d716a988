//! Which root filesystem a sandbox starts from.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The image that is this machine's own system folders.
pub const HOST_IMAGE: &str = "host";

/// An image: [`HOST_IMAGE`] or an OCI reference (`python:3.12-alpine`). The registry part is resolved by the image
/// store; here only the character set and length are checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ImageRef(String);

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image {text:?} is not valid: {why}")]
pub struct ImageError {
    text: String,
    why: &'static str,
}

impl ImageRef {
    /// The machine's own system folders.
    pub fn host() -> Self {
        Self(HOST_IMAGE.to_owned())
    }

    /// Whether this is the machine's own system folders.
    pub fn is_host(&self) -> bool {
        self.0 == HOST_IMAGE
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageRef {
    type Err = ImageError;
    fn from_str(text: &str) -> Result<Self, ImageError> {
        let fail = |why| Err(ImageError { text: text.chars().take(80).collect(), why });
        if text.is_empty() {
            return fail("it is empty");
        }
        if text.len() > 256 {
            return fail("it is longer than 256 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/:@-".contains(&b)) {
            return fail("only letters, digits and the characters . _ / : @ - are allowed");
        }
        if !text.as_bytes()[0].is_ascii_alphanumeric() {
            return fail("it must start with a letter or a digit");
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ImageRef {
    type Error = ImageError;
    fn try_from(text: String) -> Result<Self, ImageError> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> String {
        image.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
