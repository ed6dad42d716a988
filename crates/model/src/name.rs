//! Names that become path components, labels and cgroup names: validated once, safe everywhere afterwards.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not valid: {why}")]
pub struct NameError {
    kind: &'static str,
    text: String,
    why: &'static str,
}

fn check(kind: &'static str, text: &str) -> Result<(), NameError> {
    let fail = |why| Err(NameError { kind, text: text.chars().take(80).collect(), why });
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (None, _) | (_, None) => return fail("it is empty"),
        _ if bytes.len() > 63 => return fail("it is longer than 63 characters"),
        (Some(first), Some(last)) if !first.is_ascii_alphanumeric() || !last.is_ascii_alphanumeric() => {
            return fail("it must start and end with a letter or a digit");
        }
        _ => {}
    }
    if bytes.iter().any(|b| !(b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_')) {
        return fail("only letters, digits, '-' and '_' are allowed");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check($kind, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// A sandbox's name: 1 to 63 ASCII letters, digits, `-` and `_`, a letter or digit at both ends. Never a path.
    SandboxName,
    "sandbox name"
);
name_type!(
    /// A snapshot's name: as a sandbox's, in a list of its own.
    SnapshotName,
    "snapshot name"
);
name_type!(
    /// A backend's name as the user types it: `native`, `docker`, ...
    BackendName,
    "backend name"
);
name_type!(
    /// The id of one command inside a sandbox; unique for the sandbox's life.
    ExecId,
    "execution id"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rejects_what_could_leave_its_folder_or_fool_a_shell() {
        for bad in ["", "..", "../x", "a/b", ".hidden", "-rf", "a b", "a\n", "ä", "a\0b", &"a".repeat(64)] {
            assert!(bad.parse::<SandboxName>().is_err(), "{bad:?}");
        }
        for good in ["a", "A1", "my-box_2", &"a".repeat(63)] {
            assert!(good.parse::<SandboxName>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_bad_name_in_json_is_an_error() {
        assert!(serde_json::from_str::<SandboxName>("\"../evil\"").is_err());
    }

    proptest! {
        #[test]
        fn whatever_parses_is_one_plain_path_component(text in ".{0,80}") {
            if let Ok(name) = text.parse::<SandboxName>() {
                let path = std::path::Path::new(name.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
            }
        }
    }
}
