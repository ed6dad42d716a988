//! Boxes that are to go: each is ended apart from the event loop, a few at a time, while who used it goes on.

use std::sync::{Arc, Mutex, PoisonError};

use agentkernel_backend::EphemeralBox;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::lane::apart;

/// Ended at a time: the kernel mostly waits for itself there.
const AT_ONCE: usize = 8;

/// More than these under way, and who ends another waits.
const BACKLOG: usize = 128;

#[derive(Clone)]
pub(crate) struct Burials {
    under_way: Epochs,
    places: Arc<Semaphore>,
}

impl Burials {
    pub(crate) fn new() -> Self {
        Self { under_way: Epochs::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Ends and removes `made` in the background. Where no runtime is left to do so, it is dropped, which ends it too.
    pub(crate) fn add(&self, made: Box<dyn EphemeralBox>) {
        let Ok(handle) = Handle::try_current() else { return };
        let entry = self.under_way.enter();
        let places = Arc::clone(&self.places);
        handle.spawn(async move {
            // Closed by nobody.
            let place = places.acquire().await;
            let handle = Handle::current();
            if let Err(error) = apart(move || handle.block_on(made.destroy())).await {
                tracing::warn!(%error, "a sandbox could not be removed; recovery will");
            }
            drop((place, entry));
        });
    }

    /// The same, once not too many are under way.
    pub(crate) async fn add_in_turn(&self, made: Box<dyn EphemeralBox>) {
        self.under_way.current().fewer_than(BACKLOG).await;
        self.add(made);
    }

    /// Waits until none is under way of those that are now.
    pub(crate) async fn over(&self) {
        self.under_way.over().await;
    }
}

/// Counts what is under way, so that what is now can be waited for while more comes.
#[derive(Clone, Default)]
pub(crate) struct Epochs(Arc<Mutex<UnderWay>>);

impl Epochs {
    fn current(&self) -> UnderWay {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One more, until the entry is dropped.
    pub(crate) fn enter(&self) -> Entry {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).enter()
    }

    /// Waits for the end of what is under way now.
    pub(crate) async fn over(&self) {
        let old = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        old.fewer_than(1).await;
    }
}

/// Counts what is under way, for who waits for its end.
#[derive(Clone, Default)]
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn enter(&self) -> Entry {
        self.0.send_modify(|count| *count += 1);
        Entry(self.0.clone())
    }

    /// Waits until there are fewer than `count`.
    async fn fewer_than(&self, count: usize) {
        let mut now = self.0.subscribe();
        // The sender is borrowed, so it can't be closed.
        now.wait_for(|now| *now < count).await.ok();
    }
}

/// One under way.
pub(crate) struct Entry(watch::Sender<usize>);

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
