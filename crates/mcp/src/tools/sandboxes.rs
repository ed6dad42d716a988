//! Sandboxes that stay.

use agentkernel_api::{CreateRequest, Sandbox, StopRequest};
use rmcp::model::CallToolResult;

use super::{Call, text_of};
use crate::answers::{Done, SandboxList, one_line, success};
use crate::arguments::{CreateArguments, NameArguments, StopArguments};
use crate::failure::Failure;

impl Call {
    /// `sandbox_create`.
    pub(super) async fn create(self, arguments: CreateArguments) -> Result<CallToolResult, Failure> {
        let request = CreateRequest {
            name: Some(arguments.name.to_string()),
            start: arguments.start,
            backend: arguments.backend,
            image: arguments.image,
            profile: arguments.profile,
            network: arguments.network,
            memory_mb: arguments.memory_mb,
            vcpus: arguments.vcpus,
            env: arguments.env,
            workdir: arguments.cwd.as_ref().map(text_of),
            ports: arguments.ports,
            ..CreateRequest::default()
        };
        Ok(of_sandbox(&self.service.create(&self.caller, request).await?))
    }

    /// `sandbox_list`.
    pub(super) async fn list(self) -> Result<CallToolResult, Failure> {
        let list = SandboxList { sandboxes: self.service.list(&self.caller, &[]).await? };
        Ok(success(list.text(), &list))
    }

    /// `sandbox_start`.
    pub(super) async fn start(self, arguments: NameArguments) -> Result<CallToolResult, Failure> {
        Ok(of_sandbox(&self.service.start(&self.caller, arguments.name.as_str()).await?))
    }

    /// `sandbox_stop`.
    pub(super) async fn stop(self, arguments: StopArguments) -> Result<CallToolResult, Failure> {
        let name = arguments.name.as_str();
        let request = StopRequest { grace_ms: arguments.grace_ms };
        Ok(of_sandbox(&self.service.stop(&self.caller, name, request).await?))
    }

    /// `sandbox_remove`.
    pub(super) async fn remove(self, arguments: NameArguments) -> Result<CallToolResult, Failure> {
        let name = arguments.name.to_string();
        let message = match self.service.remove(&self.caller, &name, true).await? {
            true => format!("Sandbox {name} is removed."),
            false => format!("There is no sandbox {name}."),
        };
        Ok(success(message.clone(), &Done { name, message }))
    }
}

pub(super) fn of_sandbox(sandbox: &Sandbox) -> CallToolResult {
    success(one_line(sandbox), sandbox)
}
