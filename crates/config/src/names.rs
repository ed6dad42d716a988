//! Names that a configuration may use for run-times and agents. What they mean is the engine's knowledge.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::suggestion::closest;

/// A text that is none of the known names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} {text:?}: it must be one of {known}{hint}")]
pub struct UnknownName {
    kind: &'static str,
    text: String,
    known: String,
    hint: String,
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $count:literal, { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// All of them, in the order of their documentation.
            pub const ALL: [Self; $count] = [$(Self::$variant),+];

            /// As users write it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "enum": Self::ALL.map(Self::as_str) })
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
                    let known = Self::ALL.map(Self::as_str);
                    UnknownName {
                        kind: $kind,
                        text: text.chars().take(80).collect(),
                        known: known.join(", "),
                        hint: closest(text, known).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default(),
                    }
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownName;
            fn try_from(text: String) -> Result<Self, UnknownName> {
                text.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

names!(
    /// A language or tool set; it chooses the image where a backend needs one.
    Runtime, "runtime", 14, {
        /// A small shell environment.
        Base = "base",
        /// JavaScript and TypeScript.
        Node = "node",
        /// Rust.
        Rust = "rust",
        /// Go.
        Go = "go",
        /// Python.
        Python = "python",
        /// Ruby.
        Ruby = "ruby",
        /// Java and Kotlin.
        Java = "java",
        /// C# and F#.
        Dotnet = "dotnet",
        /// C and C++.
        C = "c",
        /// PHP.
        Php = "php",
        /// Elixir.
        Elixir = "elixir",
        /// Shell scripts.
        Shell = "shell",
        /// Lua.
        Lua = "lua",
        /// Terraform.
        Terraform = "terraform",
    }
);

names!(
    /// An AI coding agent that is known by name.
    AgentName, "agent", 4, {
        /// Claude Code.
        Claude = "claude",
        /// Codex.
        Codex = "codex",
        /// Gemini CLI.
        Gemini = "gemini",
        /// OpenCode.
        Opencode = "opencode",
    }
);

names!(
    /// A virtual machine monitor that makes microVMs.
    #[derive(Default)]
    Vmm, "virtual machine monitor", 2, {
        /// Firecracker, on KVM.
        #[default]
        Firecracker = "firecracker",
        /// QEMU's microvm machine: on KVM, or emulating the processor.
        Qemu = "qemu",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_unknown_ones_get_a_suggestion() {
        for runtime in Runtime::ALL {
            assert_eq!(runtime.as_str().parse(), Ok(runtime));
        }
        let message = "pyhton".parse::<Runtime>().unwrap_err().to_string();
        assert!(message.ends_with("did you mean \"python\"?"), "{message}");
        assert!("Claude".parse::<AgentName>().is_err());
    }
}
