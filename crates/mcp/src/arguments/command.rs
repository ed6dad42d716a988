//! Commands: `sandbox_run`, `sandbox_exec`, `sandbox_exec_detach`.

use std::num::NonZeroU64;

use agentkernel_api::Environment;
use agentkernel_model::{BoxPath, SandboxName};
use rmcp::ErrorData;
use serde::Deserialize;
use utoipa::ToSchema;

use super::parse::invalid;

/// A command.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a list of strings, or one string for a shell")]
pub(crate) enum Command {
    /// The program and its arguments; no shell reads them.
    Words(Vec<String>),
    /// A line that is run by `sh -c` in the sandbox.
    Line(String),
}

impl Command {
    /// The program and its arguments.
    pub(crate) fn into_words(self) -> Result<Vec<String>, ErrorData> {
        match self {
            Self::Words(words) if words.is_empty() => Err(empty()),
            Self::Line(line) if line.trim().is_empty() => Err(empty()),
            Self::Words(words) => Ok(words),
            Self::Line(line) => {
                Ok(list_in(&line).unwrap_or_else(|| vec!["sh".to_owned(), "-c".to_owned(), line]))
            }
        }
    }
}

/// The words of a string that is a list in JSON: so do some clients and models write a list where a string may stand too.
/// No shell has a use for such a line.
fn list_in(line: &str) -> Option<Vec<String>> {
    let words: Vec<String> = serde_json::from_str(line).ok()?;
    (!words.is_empty()).then_some(words)
}

fn empty() -> ErrorData {
    invalid("command", "command: it is empty; give a program and its arguments".to_owned())
}

/// How agentkernel behaves towards an agent that runs inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CompatibilityMode {
    #[serde(alias = "default")]
    Native,
    #[serde(alias = "claude-code")]
    Claude,
    Codex,
    #[serde(alias = "gemini-cli")]
    Gemini,
}

impl CompatibilityMode {
    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
        }
    }
}

/// Of `sandbox_run`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunArguments {
    /// What to run: a list of the program and its arguments (no shell reads them), or one string, which sh -c runs in the
    /// sandbox.
    #[schema(inline)]
    pub(crate) command: Command,
    /// Container image, such as python:3.12-alpine. By default it is chosen by the command.
    pub(crate) image: Option<String>,
    /// Whether a sandbox that was started earlier may be taken, which is faster. Default true.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub(crate) fast: bool,
    /// Working directory inside; absolute.
    #[schema(value_type = Option<String>)]
    pub(crate) cwd: Option<BoxPath>,
    /// Environment variables, by name.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub(crate) env: Environment,
    /// The command is killed after this many milliseconds and ends with exit code 124. Default 30000.
    #[serde(default = "thirty_seconds")]
    #[schema(value_type = u64, minimum = 1, default = 30000)]
    pub(crate) timeout_ms: NonZeroU64,
    /// Security profile: restrictive, moderate, or permissive (which needs a server that was started for it).
    pub(crate) profile: Option<String>,
    /// Whether the sandbox has a network. By default the profile decides.
    pub(crate) network: Option<bool>,
    /// native changes nothing. claude, codex and gemini limit the network to a list of domains; as long as no backend
    /// enforces that, they are refused.
    #[schema(inline)]
    pub(crate) compatibility_mode: Option<CompatibilityMode>,
    /// Text for the command's standard input.
    pub(crate) stdin: Option<String>,
    /// Who makes the sandbox: native, docker or podman. By default the best that is ready.
    pub(crate) backend: Option<String>,
    /// Memory limit in MiB.
    pub(crate) memory_mb: Option<u32>,
    /// Processors; may be a fraction.
    #[schema(value_type = Option<f64>)]
    pub(crate) vcpus: Option<serde_json::Number>,
    /// The most bytes that are returned of stdout, and of stderr: of more, the beginning and the end. Default 100000.
    #[serde(default = "default_output_bytes")]
    #[schema(default = 100000)]
    pub(crate) max_output_bytes: u64,
}

/// Of `sandbox_exec`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecArguments {
    /// The sandbox; it must be running.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// What to run: a list of the program and its arguments (no shell reads them), or one string, which sh -c runs in the
    /// sandbox.
    #[schema(inline)]
    pub(crate) command: Command,
    /// Working directory inside; absolute.
    #[schema(value_type = Option<String>)]
    pub(crate) cwd: Option<BoxPath>,
    /// Environment variables, by name.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub(crate) env: Environment,
    /// Who runs it: NAME, UID, NAME:GROUP or UID:GID.
    pub(crate) user: Option<String>,
    /// The command is killed after this many milliseconds and ends with exit code 124. By default the server's limit.
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub(crate) timeout_ms: Option<NonZeroU64>,
    /// Text for the command's standard input.
    pub(crate) stdin: Option<String>,
    /// The most bytes that are returned of stdout, and of stderr: of more, the beginning and the end. Default 100000.
    #[serde(default = "default_output_bytes")]
    #[schema(default = 100000)]
    pub(crate) max_output_bytes: u64,
}

/// Of `sandbox_exec_detach`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetachArguments {
    /// The sandbox; it must be running.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// What to run: a list of the program and its arguments (no shell reads them), or one string, which sh -c runs in the
    /// sandbox.
    #[schema(inline)]
    pub(crate) command: Command,
    /// Working directory inside; absolute.
    #[schema(value_type = Option<String>)]
    pub(crate) cwd: Option<BoxPath>,
    /// Environment variables, by name.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub(crate) env: Environment,
    /// Who runs it: NAME, UID, NAME:GROUP or UID:GID.
    pub(crate) user: Option<String>,
    /// The command is killed after this many milliseconds. By default it runs until it ends.
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub(crate) timeout_ms: Option<NonZeroU64>,
}

fn yes() -> bool {
    true
}

/// What the tool has promised since its first version.
fn thirty_seconds() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(29_999)
}

/// About 25,000 tokens, which is what clients cut answers at.
fn default_output_bytes() -> u64 {
    100_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_for_a_shell_and_a_list_is_not() {
        let line = Command::Line("echo $HOME | wc".to_owned());
        assert_eq!(line.into_words().unwrap(), ["sh", "-c", "echo $HOME | wc"]);
        let words = Command::Words(vec!["echo".to_owned(), "$HOME | wc".to_owned()]);
        assert_eq!(words.into_words().unwrap(), ["echo", "$HOME | wc"]);
        let list = Command::Line(r#"["echo", "$HOME | wc"]"#.to_owned());
        assert_eq!(list.into_words().unwrap(), ["echo", "$HOME | wc"]);
        let test = Command::Line("[ -e /tmp ]".to_owned());
        assert_eq!(test.into_words().unwrap(), ["sh", "-c", "[ -e /tmp ]"]);
        assert!(Command::Line("  ".to_owned()).into_words().is_err());
        assert!(Command::Words(Vec::new()).into_words().is_err());
    }

    #[test]
    fn defaults_are_the_advertised_ones() {
        let run: RunArguments = serde_json::from_str(r#"{"command":"true"}"#).unwrap();
        assert_eq!((run.timeout_ms.get(), run.fast, run.max_output_bytes), (30_000, true, 100_000));
    }
}
