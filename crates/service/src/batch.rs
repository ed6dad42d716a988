//! Several commands at once, each in a sandbox of its own.

use agentkernel_api::{self as api, BatchResult, ErrorCode, RunRequest};
use futures_util::StreamExt as _;

use crate::{Caller, Input, Scope, Service, ServiceError};

impl Service {
    /// Runs all of them, as many at the same time as the server's limits and the caller's quota let it, and answers in
    /// their order. One that can't be run doesn't stop the others.
    pub async fn batch(
        &self,
        caller: &Caller,
        request: api::BatchRequest,
    ) -> Result<api::BatchResults, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "run")?;
        let most = self.limits().max_batch as usize;
        match request.commands.len() {
            0 => return Err(ServiceError::invalid("commands", "it is empty; give at least one command")),
            count if count > most => {
                return Err(ServiceError::invalid("commands", format_args!("{count} are more than {most}")));
            }
            _ => {}
        }
        let share = caller.quota.and_then(|quota| quota.concurrent).unwrap_or(u32::MAX);
        // One batch leaves room for others: who comes later doesn't wait for all of it.
        let at_once = share.min(self.limits().max_concurrent_runs / 2).max(1) as usize;
        let runs = request.commands.into_iter().map(|command| self.one_of_batch(caller, command));
        let results = futures_util::stream::iter(runs).buffered(at_once).collect().await;
        Ok(api::BatchResults { results })
    }

    async fn one_of_batch(&self, caller: &Caller, command: RunRequest) -> BatchResult {
        let ran = async { self.run(caller, command, Input::Request).await?.collect().await };
        match ran.await {
            // v0.4 knew no other way to say that a command could not be started.
            Ok(result) => {
                let error = result.error.as_ref().map(|error| error.message.clone());
                let code = error.is_some().then_some(ErrorCode::CannotExec);
                let output = error.is_none().then(|| result.output.clone());
                BatchResult { output, error, code, result: Some(result) }
            }
            Err(error) => {
                BatchResult { output: None, error: Some(error.message), code: Some(error.code), result: None }
            }
        }
    }
}
