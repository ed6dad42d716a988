//! Everything that makes one sandbox what it is. Written into its record; nothing else decides how it starts.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    BackendName, BoxPath, EnvVar, ImageId, ImageRef, Mount, NetworkAccess, Profile, PublishedPort, Resources,
};

/// A user inside a box: `root`, `1000`, `1000:1000`, `node:node`. Names are looked up in the box's own `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct UserSpec {
    /// A name or a number.
    pub user: String,
    /// A name or a number; `None` is the user's own group.
    pub group: Option<String>,
}

/// Why a text is not a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("user {text:?} is not of the form NAME, UID, NAME:GROUP or UID:GID")]
pub struct UserSpecError {
    text: String,
}

impl UserSpec {
    /// Whether it is root, in root's group.
    pub fn is_root(&self) -> bool {
        let root = |text: &str| text == "root" || text == "0";
        root(&self.user) && self.group.as_deref().is_none_or(root)
    }
}

impl FromStr for UserSpec {
    type Err = UserSpecError;
    fn from_str(text: &str) -> Result<Self, UserSpecError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let plain = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-$".contains(&b))
        };
        if !plain(user) || !group.is_none_or(plain) {
            return Err(UserSpecError { text: text.to_owned() });
        }
        Ok(Self { user: user.to_owned(), group: group.map(str::to_owned) })
    }
}

impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}:{group}", self.user),
            None => f.write_str(&self.user),
        }
    }
}

impl TryFrom<String> for UserSpec {
    type Error = UserSpecError;
    fn try_from(text: String) -> Result<Self, UserSpecError> {
        text.parse()
    }
}

impl From<UserSpec> for String {
    fn from(user: UserSpec) -> String {
        user.to_string()
    }
}

/// One sandbox, fully decided: profile, toggles, config and flags are already merged into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxSpec {
    /// Who makes it.
    pub backend: BackendName,
    /// What it starts from.
    pub image: ImageRef,
    /// Which content `image` named when the sandbox was planned, so that a tag that moves later changes nothing; `None`
    /// for image `host`, which has no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<ImageId>,
    /// Where its grants and default limits came from; also decides capabilities and the seccomp filter.
    pub profile: Profile,
    /// Reach of the network.
    pub network: NetworkAccess,
    /// Whether the root filesystem can't be written (`/tmp`, `/dev/shm` and read-write mounts still can).
    pub read_only_root: bool,
    /// Host folders, absolute and existing, in the order they are mounted.
    pub mounts: Vec<Mount>,
    /// Ports on the host.
    pub ports: Vec<PublishedPort>,
    /// The environment that every command starts with, secrets included.
    pub env: Vec<EnvVar>,
    /// Where commands start unless they say otherwise.
    pub workdir: BoxPath,
    /// Who runs commands unless they say otherwise; `None` is root inside.
    pub user: Option<UserSpec>,
    /// The limits.
    pub resources: Resources,
    /// Whether limits that this machine can't enforce are let go (`--allow-unlimited`).
    pub allow_unlimited: bool,
    /// The box's host name.
    pub hostname: String,
    /// The agent it is meant for (`claude`, `codex`, `gemini`, `opencode`), if any.
    pub agent: Option<String>,
    /// The user's own marks.
    pub labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_parse() {
        for good in ["root", "1000", "1000:1000", "www-data:adm"] {
            assert_eq!(good.parse::<UserSpec>().unwrap().to_string(), good);
        }
        for bad in ["", ":", "a:", ":b", "a b", "a:b:c", "../x", "root\n"] {
            assert!(bad.parse::<UserSpec>().is_err(), "{bad}");
        }
    }
}
