//! One call of a tool, and which verb it leads to.

use agentkernel_model::BoxPath;
use agentkernel_service::{Caller, Service};
use rmcp::model::{CallToolResult, JsonObject};

use crate::arguments::parse;
use crate::catalogue::Verb;
use crate::failure::Failure;
use crate::progress::Progress;

/// One call of a tool.
pub(crate) struct Call {
    /// The name that the client used.
    pub(crate) tool: String,
    pub(crate) service: Service,
    pub(crate) caller: Caller,
    /// Where output goes while the command runs, for clients that asked for it.
    pub(crate) progress: Option<Progress>,
    /// Whether the client knows links to resources.
    pub(crate) links: bool,
}

impl Call {
    /// Does it.
    pub(crate) async fn answer(
        self,
        verb: Verb,
        arguments: Option<JsonObject>,
    ) -> Result<CallToolResult, Failure> {
        let tool = self.tool.clone();
        match verb {
            Verb::Run => self.run(parse(&tool, arguments)?).await,
            Verb::Exec => self.exec(parse(&tool, arguments)?).await,
            Verb::Create => self.create(parse(&tool, arguments)?).await,
            Verb::List => {
                let _none: crate::arguments::ListArguments = parse(&tool, arguments)?;
                self.list().await
            }
            Verb::Remove => self.remove(parse(&tool, arguments)?).await,
            Verb::Start => self.start(parse(&tool, arguments)?).await,
            Verb::Stop => self.stop(parse(&tool, arguments)?).await,
            Verb::Pause => self.pause(parse(&tool, arguments)?).await,
            Verb::Resume => self.resume(parse(&tool, arguments)?).await,
            Verb::Fork => self.fork(parse(&tool, arguments)?).await,
            Verb::SnapshotList => {
                let _none: crate::arguments::ListArguments = parse(&tool, arguments)?;
                self.snapshots().await
            }
            Verb::SnapshotTake => self.take_snapshot(parse(&tool, arguments)?).await,
            Verb::SnapshotGet => self.snapshot(parse(&tool, arguments)?).await,
            Verb::SnapshotRestore => self.restore_snapshot(parse(&tool, arguments)?).await,
            Verb::SnapshotDelete => self.remove_snapshot(parse(&tool, arguments)?).await,
            Verb::FileWrite => self.write_file(parse(&tool, arguments)?).await,
            Verb::FileRead => self.read_file(parse(&tool, arguments)?).await,
            Verb::FileList => self.list_files(parse(&tool, arguments)?).await,
            Verb::ExecDetach => self.detach(parse(&tool, arguments)?).await,
            Verb::ExecLogs => self.logs(parse(&tool, arguments)?).await,
            Verb::ExecKill => self.kill(parse(&tool, arguments)?).await,
            Verb::ExecList => self.executions(parse(&tool, arguments)?).await,
        }
    }
}

/// A path as the service takes it. It was text before it was checked.
pub(super) fn text_of(path: &BoxPath) -> String {
    path.as_path().to_string_lossy().into_owned()
}
