//! The three security profiles and the single grants they are made of.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Access, Cpus, Mib, Resources};

/// A named set of grants. An unknown name is an error, never the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Network, current folder, home (read-only) and environment.
    Permissive,
    /// Network only.
    #[default]
    Moderate,
    /// Nothing, and a read-only root.
    Restrictive,
}

/// Whether a box reaches other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkAccess {
    /// Loopback only.
    None,
    /// Outbound through an own network namespace; the host itself stays unreachable.
    On,
}

/// Which of the caller's environment variables a box sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PassEnv {
    /// None of them.
    None,
    /// All but those that describe the host's own session (PATH, HOME, ...).
    All,
    /// These, where they are set.
    Names(Vec<String>),
}

/// What a box is granted: a profile with the user's single toggles applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Reach of the network.
    pub network: NetworkAccess,
    /// The caller's current folder at `/workspace`.
    pub mount_cwd: Option<Access>,
    /// The caller's home, read-only, at `/home/user`.
    pub mount_home: bool,
    /// The caller's environment.
    pub pass_env: PassEnv,
    /// A root filesystem that can't be written (`/tmp` still can).
    pub read_only: bool,
}

impl Profile {
    /// All profiles, most trusting first.
    pub const ALL: [Self; 3] = [Self::Permissive, Self::Moderate, Self::Restrictive];

    /// The name as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permissive => "permissive",
            Self::Moderate => "moderate",
            Self::Restrictive => "restrictive",
        }
    }

    /// The profile's row of the table in the documentation.
    pub fn grants(self) -> Grants {
        match self {
            Self::Permissive => Grants {
                network: NetworkAccess::On,
                mount_cwd: Some(Access::ReadWrite),
                mount_home: true,
                pass_env: PassEnv::All,
                read_only: false,
            },
            Self::Moderate => Grants {
                network: NetworkAccess::On,
                mount_cwd: None,
                mount_home: false,
                pass_env: PassEnv::None,
                read_only: false,
            },
            Self::Restrictive => Grants {
                network: NetworkAccess::None,
                mount_cwd: None,
                mount_home: false,
                pass_env: PassEnv::None,
                read_only: true,
            },
        }
    }

    /// The limits that hold where the user names no others. A number the user gives always wins.
    pub fn resources(self) -> Resources {
        let pids = Some(match self {
            Self::Permissive => 4096,
            Self::Moderate => 1024,
            Self::Restrictive => 256,
        });
        let open_files = Some(match self {
            Self::Permissive => 65_536,
            Self::Moderate => 8192,
            Self::Restrictive => 1024,
        });
        let (memory, cpu_millis) = match self {
            Self::Permissive => (None, None),
            Self::Moderate => (Some(Mib(512)), Some(1000)),
            Self::Restrictive => (Some(Mib(256)), Some(500)),
        };
        Resources { memory, cpus: cpu_millis.and_then(Cpus::from_millis), pids, disk: None, open_files }
    }

    /// The Linux capabilities that root in the box may keep, by their kernel names. They act on the box's own user
    /// namespace only; even so, fewer is better.
    pub fn linux_capabilities(self) -> &'static [&'static str] {
        const OWN_FILES: [&str; 8] = [
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FOWNER",
            "CAP_FSETID",
            "CAP_KILL",
            "CAP_SETGID",
            "CAP_SETUID",
            "CAP_NET_BIND_SERVICE",
        ];
        match self {
            Self::Permissive | Self::Moderate => &OWN_FILES,
            Self::Restrictive => &[],
        }
    }
}

/// Why a text is not a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile {text:?}: it must be permissive, moderate or restrictive")]
pub struct ProfileError {
    text: String,
}

impl FromStr for Profile {
    type Err = ProfileError;
    fn from_str(text: &str) -> Result<Self, ProfileError> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| ProfileError { text: text.to_owned() })
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_documented_one() {
        let row = |profile: Profile| {
            let g = profile.grants();
            (
                g.network == NetworkAccess::On,
                g.mount_cwd.is_some(),
                g.mount_home,
                g.pass_env != PassEnv::None,
                g.read_only,
            )
        };
        assert_eq!(row(Profile::Permissive), (true, true, true, true, false));
        assert_eq!(row(Profile::Moderate), (true, false, false, false, false));
        assert_eq!(row(Profile::Restrictive), (false, false, false, false, true));
    }

    #[test]
    fn an_unknown_profile_is_an_error() {
        assert!("strict".parse::<Profile>().is_err());
        assert!("Moderate".parse::<Profile>().is_err());
    }
}
