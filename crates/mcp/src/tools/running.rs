//! Commands that are started and left to run.

use agentkernel_api::{ExecRequest, KillRequest};
use rmcp::model::CallToolResult;

use super::{Call, text_of};
use crate::answers::{DetachedCommand, ExecutionList, Killed, success};
use crate::arguments::{DetachArguments, ExecKillArguments, ExecListArguments};
use crate::failure::Failure;

/// What is sent where nothing is said.
const KILL: &str = "SIGKILL";

impl Call {
    /// `sandbox_exec_detach`.
    pub(super) async fn detach(self, arguments: DetachArguments) -> Result<CallToolResult, Failure> {
        let request = ExecRequest {
            command: arguments.command.into_words()?,
            env: arguments.env,
            workdir: arguments.cwd.as_ref().map(text_of),
            user: arguments.user,
            timeout_ms: arguments.timeout_ms.map(Into::into),
            ..ExecRequest::default()
        };
        let started = self.service.exec_detached(&self.caller, arguments.name.as_str(), request).await?;
        let command = DetachedCommand { id: started.id, sandbox: started.sandbox };
        let text =
            format!("Command {} runs in sandbox {}; see sandbox_exec_logs.", command.id, command.sandbox);
        Ok(success(text, &command))
    }

    /// `sandbox_exec_list`.
    pub(super) async fn executions(self, arguments: ExecListArguments) -> Result<CallToolResult, Failure> {
        let executions = self.service.executions(&self.caller, arguments.name.as_str()).await?;
        let list = ExecutionList { executions };
        Ok(success(list.text(), &list))
    }

    /// `sandbox_exec_kill`.
    pub(super) async fn kill(self, arguments: ExecKillArguments) -> Result<CallToolResult, Failure> {
        let request = KillRequest { signal: arguments.signal };
        let signal = request.signal.clone().unwrap_or_else(|| KILL.to_owned());
        self.service.kill(&self.caller, arguments.name.as_str(), &arguments.id, request).await?;
        let killed = Killed { id: arguments.id, signal };
        Ok(success(format!("Sent {} to command {}.", killed.signal, killed.id), &killed))
    }
}
