//! Failures on demand.

use std::collections::VecDeque;
use std::sync::Mutex;

use agentkernel_backend::BackendError;

/// A call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// [`agentkernel_backend::Backend::launch`].
    Launch,
    /// [`agentkernel_backend::EphemeralBox::ready`].
    Ready,
    /// [`agentkernel_backend::Backend::take_over`].
    TakeOver,
    /// [`agentkernel_backend::EphemeralBox::destroy`].
    Destroy,
    /// [`agentkernel_backend::Backend::create`].
    Create,
    /// [`agentkernel_backend::Backend::start`].
    Start,
    /// [`agentkernel_backend::Backend::stop`].
    Stop,
    /// [`agentkernel_backend::Backend::remove`].
    Remove,
    /// [`agentkernel_backend::Backend::running`].
    Running,
    /// [`agentkernel_backend::Backend::connect`].
    Connect,
    /// [`agentkernel_backend::Backend::reclaim`].
    Reclaim,
    /// [`agentkernel_backend::Snapshots::pause`].
    Pause,
    /// [`agentkernel_backend::Snapshots::resume`].
    Resume,
    /// [`agentkernel_backend::Snapshots::take`]: the sandbox stands still then.
    Take,
    /// [`agentkernel_backend::Snapshots::restore`].
    Restore,
    /// [`agentkernel_backend::Guest::exec`].
    Exec,
    /// Any call of [`agentkernel_backend::Guest`] that reads files.
    ReadFiles,
    /// Any call of [`agentkernel_backend::Guest`] that changes files.
    WriteFiles,
    /// [`agentkernel_backend::Guest::connect_port`].
    ConnectPort,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error, and nothing was changed.
    Before,
    /// An error, although all of it was done: as a kill between effect and answer.
    After,
    /// It never returns; the caller must have a way out.
    Hang,
}

/// The faults still to come.
#[derive(Default)]
pub(super) struct Faults(Mutex<VecDeque<(Step, Fault)>>);

impl Faults {
    pub(super) fn add(&self, step: Step, fault: Fault) {
        self.0.lock().expect("no panic while locked").push_back((step, fault));
    }

    /// Takes the next fault meant for `step`: fails or hangs at once where it is of that kind, else says whether the
    /// caller has to fail in the end.
    pub(super) async fn before(&self, step: Step) -> Result<FailLater, BackendError> {
        let fault = {
            let mut faults = self.0.lock().expect("no panic while locked");
            let at = faults.iter().position(|(wanted, _)| *wanted == step);
            at.and_then(|at| faults.remove(at)).map(|(_, fault)| fault)
        };
        // Every call gives others a chance to run, as a real one would.
        tokio::task::yield_now().await;
        match fault {
            None => Ok(FailLater(None)),
            Some(Fault::After) => Ok(FailLater(Some(step))),
            Some(Fault::Before) => Err(injected(step)),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

/// Whether a call that was done must still report a failure.
#[must_use]
pub(super) struct FailLater(Option<Step>);

impl FailLater {
    pub(super) fn done<T>(self, value: T) -> Result<T, BackendError> {
        match self.0 {
            None => Ok(value),
            Some(step) => Err(injected(step)),
        }
    }
}

fn injected(step: Step) -> BackendError {
    BackendError::runtime(format!("do the fake's {step:?}"), "failure on demand")
}
