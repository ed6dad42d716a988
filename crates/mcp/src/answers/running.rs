//! Commands that were started and left to run.

use std::fmt::Write as _;

use agentkernel_api::{Encoding, ExecutionInfo, ExecutionStatus};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

/// Of `sandbox_exec_detach`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DetachedCommand {
    /// Its id in its sandbox.
    pub(crate) id: String,
    /// Its sandbox.
    pub(crate) sandbox: String,
}

/// Of `sandbox_exec_list`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ExecutionList {
    /// Those that run, and detached ones that have ended.
    pub(crate) executions: Vec<ExecutionInfo>,
}

impl ExecutionList {
    /// A line each.
    pub(crate) fn text(&self) -> String {
        if self.executions.is_empty() {
            return "No commands.".to_owned();
        }
        self.executions.iter().map(execution_line).collect::<Vec<_>>().join("\n")
    }
}

fn execution_line(execution: &ExecutionInfo) -> String {
    let state = state_text(execution.status, execution.exit_code);
    format!("{}: {state}: {}", execution.id, execution.command.join(" "))
}

fn state_text(status: ExecutionStatus, exit_code: Option<u8>) -> String {
    match (status, exit_code) {
        (ExecutionStatus::Running, _) => "running".to_owned(),
        (ExecutionStatus::Ended, Some(code)) => format!("ended with exit code {code}"),
        (ExecutionStatus::Ended, None) => "ended".to_owned(),
    }
}

/// Of `sandbox_exec_kill`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Killed {
    /// The command's id.
    pub(crate) id: String,
    /// What was sent to it.
    pub(crate) signal: String,
}

/// Of `sandbox_exec_logs`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ExecLogs {
    /// The command's id.
    pub(crate) id: String,
    /// Standard output from offset on.
    pub(crate) stdout: String,
    /// Standard error from offset on.
    pub(crate) stderr: String,
    /// How stdout and stderr are written: utf8 where both are text, else base64. Exact either way.
    pub(crate) encoding: Encoding,
    /// Where this part begins. Larger than what was asked for where older output has been dropped.
    pub(crate) offset: u64,
    /// Where to go on.
    pub(crate) next_offset: u64,
    /// Whether it runs.
    pub(crate) status: ExecutionStatus,
    /// Once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<u8>,
}

impl ExecLogs {
    /// Sets both streams, as text where they are.
    pub(crate) fn with_output(mut self, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        match (String::from_utf8(stdout), String::from_utf8(stderr)) {
            (Ok(stdout), Ok(stderr)) => (self.stdout, self.stderr) = (stdout, stderr),
            (stdout, stderr) => {
                let bytes = |stream: Result<String, std::string::FromUtf8Error>| match stream {
                    Ok(text) => STANDARD.encode(text),
                    Err(error) => STANDARD.encode(error.as_bytes()),
                };
                (self.stdout, self.stderr) = (bytes(stdout), bytes(stderr));
                self.encoding = Encoding::Base64;
            }
        }
        self
    }

    /// For models and people.
    pub(crate) fn text(&self) -> String {
        let mut text = state_text(self.status, self.exit_code);
        if self.encoding == Encoding::Base64 {
            text.push_str(" [base64]");
        }
        for (name, content) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !content.is_empty() {
                write!(text, "\n{name}:\n{content}").ok();
            }
        }
        write!(text, "\n[next offset: {}]", self.next_offset).ok();
        text
    }
}
