//! What a running command holds, and how it is given back: its box, its leave to run, its place in the books.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use agentkernel_api::EventKind;
use agentkernel_engine::RunEnding;
use agentkernel_model::{BackendName, Outcome};

use crate::activity::Work;
use crate::admission::Leave;
use crate::policy::entry;
use crate::service::Inner;
use crate::{AuditEntry, Caller, ServiceError, Verdict};

/// For a command that runs, until it is dropped: then its end is written down and its box ended, by a task of the server
/// where that takes time.
pub(crate) struct Held {
    inner: Arc<Inner>,
    caller: Caller,
    end_action: &'static str,
    sandbox: Option<String>,
    backend: BackendName,
    execution: String,
    since: Instant,
    outcome: Option<Outcome>,
    /// What became of its box before its end was seen.
    broken: Option<String>,
    written: u64,
    /// `None` where the box is a sandbox that lasts.
    ending: Option<RunEnding>,
    leave: Option<Leave>,
    work: Option<Work>,
}

/// What a command was started with.
pub(crate) struct Beginning {
    pub(crate) caller: Caller,
    /// `run` or `exec`.
    pub(crate) action: &'static str,
    pub(crate) end_action: &'static str,
    pub(crate) sandbox: Option<String>,
    pub(crate) backend: BackendName,
    pub(crate) execution: String,
    pub(crate) argv: Vec<String>,
    pub(crate) warm: bool,
    pub(crate) since: Instant,
    pub(crate) ending: Option<RunEnding>,
    pub(crate) leave: Option<Leave>,
}

impl Held {
    /// Writes the beginning down.
    pub(crate) fn begin(inner: &Arc<Inner>, beginning: Beginning) -> Self {
        let Beginning {
            caller,
            action,
            end_action,
            sandbox,
            backend,
            execution,
            argv,
            warm,
            since,
            ending,
            leave,
        } = beginning;
        inner.statistics.running.fetch_add(1, Ordering::Relaxed);
        if warm {
            inner.statistics.warm.add(1);
        }
        if ending.is_some() {
            inner.statistics.start_seconds.observe(since.elapsed());
        }
        inner.audit.record(AuditEntry {
            sandbox: sandbox.clone(),
            backend: Some(backend.to_string()),
            execution: Some(execution.clone()),
            argv,
            ..entry(&caller, action)
        });
        let fields = [("execution", execution.clone()), ("backend", backend.to_string())];
        inner.events.emit(EventKind::CommandStarted, sandbox.as_deref(), fields);
        let work = Some(inner.activity.begin());
        Self {
            inner: Arc::clone(inner),
            caller,
            end_action,
            sandbox,
            backend,
            execution,
            since,
            outcome: None,
            broken: None,
            written: 0,
            ending,
            leave,
            work,
        }
    }

    /// Counts output.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// The command has ended by itself.
    pub(crate) fn ended(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        if self.ending.is_some() {
            self.inner.statistics.ran(self.since.elapsed());
        }
    }

    /// Its box broke the protocol or came to an end in the middle of a stream.
    pub(crate) fn broke(&mut self, why: &ServiceError) {
        self.broken = Some(why.message.clone());
    }

    fn write_down(&mut self) {
        let statistics = &self.inner.statistics;
        statistics.running.fetch_sub(1, Ordering::Relaxed);
        statistics.commands.add(1);
        statistics.output_bytes.add(self.written);
        let exit_code = self.outcome.map(Outcome::exit_code);
        let shown = exit_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let fields = [("execution", self.execution.clone()), ("exit_code", shown)];
        self.inner.events.emit(EventKind::CommandEnded, self.sandbox.as_deref(), fields);
        let client_gone = || "its client went away, and it was killed".to_owned();
        let why = self.outcome.is_none().then(|| self.broken.take().unwrap_or_else(client_gone));
        self.inner.audit.record(AuditEntry {
            sandbox: self.sandbox.clone(),
            backend: Some(self.backend.to_string()),
            execution: Some(self.execution.clone()),
            bytes: Some(self.written),
            exit_code,
            verdict: if self.outcome.is_some() { Verdict::Allowed } else { Verdict::Failed },
            why,
            ..entry(&self.caller, self.end_action)
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.write_down();
        let (leave, work) = (self.leave.take(), self.work.take());
        let Some(ending) = self.ending.take() else { return };
        let (engine, backend) = (self.inner.engine.clone(), self.backend.clone());
        self.inner.runtime.spawn(async move {
            if let Err(error) = ending.finish().await {
                tracing::warn!(%error, "a box could not be removed; it is tried again");
                if let Err(error) = engine.recover_backend(&backend).await {
                    tracing::warn!(%error, "what a box left could not be cleared away; the next command tries again");
                }
            }
            // Whoever waits for room gets it when the box is really gone.
            drop((leave, work));
        });
    }
}
