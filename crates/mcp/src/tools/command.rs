//! `sandbox_run` and `sandbox_exec`: a command whose end is waited for.

use std::pin::pin;

use agentkernel_api::{ErrorCode, ExecRequest, RunRequest};
use agentkernel_service::{ExecExtra, Input, OutputEvent, ServiceError, Started};
use rmcp::model::CallToolResult;

use super::{Call, text_of};
use crate::answers::{CommandResult, isolation_line, success};
use crate::arguments::{CompatibilityMode, ExecArguments, RunArguments};
use crate::failure::Failure;
use crate::kept::Kept;
use crate::progress::PullNews;

impl Call {
    /// `sandbox_run`.
    pub(super) async fn run(mut self, arguments: RunArguments) -> Result<CallToolResult, Failure> {
        refuse_unenforced(arguments.compatibility_mode)?;
        let limit = arguments.max_output_bytes;
        let request = RunRequest {
            command: arguments.command.into_words()?,
            env: arguments.env,
            workdir: arguments.cwd.as_ref().map(text_of),
            stdin: arguments.stdin,
            timeout_ms: Some(arguments.timeout_ms.get()),
            fast: arguments.fast,
            backend: arguments.backend,
            image: arguments.image,
            profile: arguments.profile,
            network: arguments.network,
            memory_mb: arguments.memory_mb,
            vcpus: arguments.vcpus,
            ..RunRequest::default()
        };
        let started = self.start_run(request).await?;
        self.follow(started, limit).await
    }

    /// `sandbox_exec`.
    pub(super) async fn exec(self, arguments: ExecArguments) -> Result<CallToolResult, Failure> {
        let limit = arguments.max_output_bytes;
        let request = ExecRequest {
            command: arguments.command.into_words()?,
            env: arguments.env,
            workdir: arguments.cwd.as_ref().map(text_of),
            user: arguments.user,
            stdin: arguments.stdin,
            timeout_ms: arguments.timeout_ms.map(Into::into),
            ..ExecRequest::default()
        };
        let name = arguments.name.as_str();
        let started = self.service.exec(&self.caller, name, request, ExecExtra::default()).await?;
        self.follow(started, limit).await
    }

    /// Makes the sandbox, which may take as long as its image is large.
    async fn start_run(&mut self, request: RunRequest) -> Result<Started, ServiceError> {
        let Some(progress) = &mut self.progress else {
            return self.service.run(&self.caller, request, Input::Request).await;
        };
        let (news, mut told) = PullNews::new();
        let mut starting = pin!(self.service.run_watched(&self.caller, request, Input::Request, &news));
        loop {
            tokio::select! {
                started = &mut starting => return started,
                // It is told as long as `news` lives.
                Ok(()) = told.changed() => {
                    let text = told.borrow_and_update().clone();
                    progress.step(&text).await;
                }
            }
        }
    }

    /// Waits for the end. Dropping the future kills the command.
    async fn follow(mut self, started: Started, limit: u64) -> Result<CallToolResult, Failure> {
        let most = self.service.limits().max_output_bytes;
        let (mut stdout, mut stderr) = (Kept::new(limit.min(most)), Kept::new(limit.min(most)));
        let mut events = started.into_stream();
        if let Some(progress) = &mut self.progress {
            let info = events.info();
            let kind = if info.warm { "a warm sandbox" } else { "a sandbox" };
            progress.step(&format!("running in {kind}: {}", isolation_line(&info.isolation))).await;
        }
        let mut result = loop {
            let event = match &mut self.progress {
                None => events.next().await?,
                Some(progress) => tokio::select! {
                    event = events.next() => event?,
                    () = progress.due() => {
                        progress.send().await;
                        continue;
                    }
                },
            };
            let (kept, bytes) = match event {
                Some(OutputEvent::Stdout(bytes)) => (&mut stdout, bytes),
                Some(OutputEvent::Stderr(bytes)) => (&mut stderr, bytes),
                Some(OutputEvent::End(result)) => break CommandResult::from(*result),
                // The end comes before it.
                None => return Err(ServiceError::new(ErrorCode::Failed, "a command without an end").into()),
            };
            kept.push(&bytes);
            if let Some(progress) = &mut self.progress {
                progress.output(&bytes).await;
            }
        };
        (result.stdout_truncated, result.stderr_truncated) = (stdout.is_cut(), stderr.is_cut());
        (result.stdout, result.stderr) = (stdout.into_text(), stderr.into_text());
        Ok(success(result.text(), &result))
    }
}

/// The modes that promise a network with a list of domains: nothing here could keep that promise.
fn refuse_unenforced(mode: Option<CompatibilityMode>) -> Result<(), ServiceError> {
    match mode {
        None | Some(CompatibilityMode::Native) => Ok(()),
        Some(mode) => {
            let message = format!(
                "compatibility_mode {:?} limits the network to a list of domains, which no backend of this version \
                 enforces; leave it out, and use network: false for no network at all",
                mode.as_str()
            );
            Err(ServiceError::new(ErrorCode::Unsupported, message))
        }
    }
}
