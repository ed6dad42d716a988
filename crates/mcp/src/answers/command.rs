//! A command that has ended.

use std::fmt::Write as _;

use agentkernel_api::{Encoding, Isolation, RunError, RunResult};
use serde::Serialize;
use utoipa::ToSchema;

/// How it ended and what it wrote. The names are those of the HTTP API's `RunResult`; its `output` is left out, which
/// would be all of stdout and stderr a second time in a model's context.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct CommandResult {
    /// 0 is success; 124: its time ran out; 126: it can't be executed; 127: it was not found; 128+n: it died of signal n.
    pub(crate) exit_code: u8,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
    /// How stdout and stderr are written.
    pub(crate) encoding: Encoding,
    /// The signal that it died of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<String>,
    /// Whether its time ran out.
    pub(crate) timed_out: bool,
    /// Whether there was more stdout than is returned.
    pub(crate) stdout_truncated: bool,
    /// Whether there was more stderr than is returned.
    pub(crate) stderr_truncated: bool,
    /// From the request to the command's end.
    pub(crate) duration_ms: u64,
    /// Whose sandbox it was.
    pub(crate) backend: String,
    /// The isolation that it really had.
    pub(crate) isolation: Isolation,
    /// The image.
    pub(crate) image: String,
    /// Whether the sandbox had been started before it was asked for.
    pub(crate) warm: bool,
    /// The sandbox's name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<String>,
    /// Why the command could not be started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<RunError>,
}

impl From<RunResult> for CommandResult {
    fn from(result: RunResult) -> Self {
        Self {
            exit_code: result.exit_code,
            stdout: result.stdout,
            stderr: result.stderr,
            encoding: result.encoding,
            signal: result.signal,
            timed_out: result.timed_out,
            stdout_truncated: result.stdout_truncated,
            stderr_truncated: result.stderr_truncated,
            duration_ms: result.duration_ms,
            backend: result.backend,
            isolation: result.isolation,
            image: result.image,
            warm: result.warm,
            sandbox: result.sandbox,
            error: result.error,
        }
    }
}

impl CommandResult {
    /// For models and people: the end first, then what it wrote.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("exit code: {}", self.exit_code);
        if self.timed_out {
            text.push_str(" (its time ran out; raise timeout_ms, or use sandbox_exec_detach)");
        } else if let Some(signal) = &self.signal {
            // Writing into a String can't fail.
            write!(text, " ({signal})").ok();
        }
        if let Some(error) = &self.error {
            write!(text, "\nnot started: {}", error.message).ok();
        }
        write!(text, "\nisolation: {}", isolation_line(&self.isolation)).ok();
        for (name, content, cut) in
            [("stdout", &self.stdout, self.stdout_truncated), ("stderr", &self.stderr, self.stderr_truncated)]
        {
            if content.is_empty() && !cut {
                continue;
            }
            write!(text, "\n{name}:\n{content}").ok();
            if cut {
                text.push_str("\n[a part is left out; raise max_output_bytes, or write it to a file]");
            }
        }
        if self.stdout.is_empty() && self.stderr.is_empty() {
            text.push_str("\n(no output)");
        }
        text
    }
}

/// What keeps the sandbox apart, and loudly what does not.
pub(crate) fn isolation_line(isolation: &Isolation) -> String {
    let mut line = format!("{}, {}", isolation.backend, isolation.boundary);
    if isolation.rootless {
        line.push_str(", rootless");
    }
    if !isolation.not_enforced.is_empty() {
        write!(line, "; NOT enforced: {}", isolation.not_enforced.join(", ")).ok();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> CommandResult {
        CommandResult {
            exit_code: 0,
            stdout: "42\n".to_owned(),
            stderr: String::new(),
            encoding: Encoding::Utf8,
            signal: None,
            timed_out: false,
            stdout_truncated: false,
            stderr_truncated: false,
            duration_ms: 5,
            backend: "native".to_owned(),
            isolation: Isolation {
                backend: "native".to_owned(),
                boundary: "shared-kernel".to_owned(),
                rootless: true,
                layers: vec!["seccomp".to_owned()],
                not_enforced: Vec::new(),
            },
            image: "host".to_owned(),
            warm: true,
            sandbox: None,
            error: None,
        }
    }

    #[test]
    fn the_text_says_the_end_the_isolation_and_the_output() {
        assert_eq!(
            result().text(),
            "exit code: 0\nisolation: native, shared-kernel, rootless\nstdout:\n42\n"
        );
    }

    #[test]
    fn what_is_cut_off_not_enforced_or_out_of_time_is_said() {
        let mut result = result();
        result.exit_code = 124;
        result.timed_out = true;
        result.stderr_truncated = true;
        result.isolation.not_enforced = vec!["memory limit".to_owned()];
        let text = result.text();
        for part in ["its time ran out", "left out", "NOT enforced: memory limit"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn silence_is_said() {
        let mut result = result();
        result.stdout.clear();
        assert!(result.text().ends_with("(no output)"));
    }
}
