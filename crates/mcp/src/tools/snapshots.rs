//! Pause, snapshots and forks.

use agentkernel_api::{ForkRequest, RestoreRequest, SnapshotRequest};
use rmcp::model::CallToolResult;

use super::Call;
use super::sandboxes::of_sandbox;
use crate::answers::{Done, SandboxList, SnapshotList, snapshot_line, success};
use crate::arguments::{
    ForkArguments, NameArguments, RestoreArguments, SnapshotNameArguments, TakeArguments,
};
use crate::failure::Failure;

impl Call {
    /// `sandbox_pause`.
    pub(super) async fn pause(self, arguments: NameArguments) -> Result<CallToolResult, Failure> {
        Ok(of_sandbox(&self.service.pause(&self.caller, arguments.name.as_str()).await?))
    }

    /// `sandbox_resume`.
    pub(super) async fn resume(self, arguments: NameArguments) -> Result<CallToolResult, Failure> {
        Ok(of_sandbox(&self.service.resume(&self.caller, arguments.name.as_str()).await?))
    }

    /// `sandbox_fork`.
    pub(super) async fn fork(self, arguments: ForkArguments) -> Result<CallToolResult, Failure> {
        let as_name = arguments.as_name.map(String::from);
        let request = ForkRequest { count: arguments.count, as_name };
        let sandboxes = self.service.fork(&self.caller, arguments.name.as_str(), request).await?;
        let list = SandboxList { sandboxes };
        Ok(success(list.text(), &list))
    }

    /// `snapshot_list`.
    pub(super) async fn snapshots(self) -> Result<CallToolResult, Failure> {
        let list = SnapshotList { snapshots: self.service.snapshots(&self.caller).await? };
        Ok(success(list.text(), &list))
    }

    /// `snapshot_take`.
    pub(super) async fn take_snapshot(self, arguments: TakeArguments) -> Result<CallToolResult, Failure> {
        let name = arguments.name.map(String::from);
        let request = SnapshotRequest { sandbox: arguments.sandbox.into(), name };
        let taken = self.service.take_snapshot(&self.caller, request).await?;
        Ok(success(snapshot_line(&taken), &taken))
    }

    /// `snapshot_get`.
    pub(super) async fn snapshot(self, arguments: SnapshotNameArguments) -> Result<CallToolResult, Failure> {
        let found = self.service.snapshot(&self.caller, arguments.name.as_str()).await?;
        Ok(success(snapshot_line(&found), &found))
    }

    /// `snapshot_restore`.
    pub(super) async fn restore_snapshot(
        self,
        arguments: RestoreArguments,
    ) -> Result<CallToolResult, Failure> {
        let request = RestoreRequest { as_name: arguments.as_name.map(String::from) };
        let name = arguments.name.as_str();
        Ok(of_sandbox(&self.service.restore_snapshot(&self.caller, name, request).await?))
    }

    /// `snapshot_delete`.
    pub(super) async fn remove_snapshot(
        self,
        arguments: SnapshotNameArguments,
    ) -> Result<CallToolResult, Failure> {
        let name = arguments.name.to_string();
        let message = match self.service.remove_snapshot(&self.caller, &name).await? {
            true => format!("Snapshot {name} is removed."),
            false => format!("There is no snapshot {name}."),
        };
        Ok(success(message.clone(), &Done { name, message }))
    }
}
