//! Work that must be done before the server may go.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts what is under way.
#[derive(Debug)]
pub(crate) struct Activity {
    count: watch::Sender<usize>,
}

/// One piece of work, until it is dropped.
#[derive(Debug)]
pub(crate) struct Work(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { count: watch::Sender::new(0) })
    }

    /// Begins a piece of work.
    pub(crate) fn begin(self: &Arc<Self>) -> Work {
        self.count.send_modify(|count| *count += 1);
        Work(Arc::clone(self))
    }

    /// Waits until there is none.
    pub(crate) async fn idle(&self) {
        // The sender is ours, so that it can't be gone.
        self.count.subscribe().wait_for(|count| *count == 0).await.ok();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| *count -= 1);
    }
}
