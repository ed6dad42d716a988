//! All terminals of this server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use agentkernel_api as api;
use tokio::sync::{mpsc, oneshot};

use super::Attached;

/// What a terminal's task is asked.
pub(super) enum Order {
    Attach(oneshot::Sender<Attached>),
    Close,
}

/// One terminal, seen from outside.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) info: api::TerminalInfo,
    pub(super) orders: mpsc::Sender<Order>,
}

/// All of them, by id.
#[derive(Clone, Default)]
pub(crate) struct Terminals {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
}

impl Terminals {
    fn with<T>(&self, use_it: impl FnOnce(&mut BTreeMap<String, Entry>) -> T) -> T {
        use_it(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn count(&self) -> usize {
        self.with(|entries| entries.len())
    }

    /// Adds one, where there are fewer than `most`.
    pub(super) fn add(&self, entry: Entry, most: usize) -> bool {
        self.with(|entries| {
            let room = entries.len() < most;
            if room {
                entries.insert(entry.info.id.clone(), entry);
            }
            room
        })
    }

    pub(super) fn remove(&self, id: &str) {
        self.with(|entries| entries.remove(id));
    }

    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut api::TerminalInfo)) {
        self.with(|entries| entries.get_mut(id).map(|entry| change(&mut entry.info)));
    }

    /// One of a sandbox.
    pub(super) fn find(&self, sandbox: &str, id: &str) -> Option<Entry> {
        self.with(|entries| entries.get(id).filter(|entry| entry.info.sandbox == sandbox).cloned())
    }

    /// Those of a sandbox.
    pub(super) fn of(&self, sandbox: &str) -> Vec<api::TerminalInfo> {
        self.with(|entries| {
            entries
                .values()
                .map(|entry| &entry.info)
                .filter(|info| info.sandbox == sandbox)
                .cloned()
                .collect()
        })
    }

    /// Closes those of a sandbox. Must be called within a tokio runtime, as the next.
    pub(crate) fn close_of(&self, sandbox: &str) {
        self.close_where(|info| info.sandbox == sandbox);
    }

    /// Closes all.
    pub(crate) fn close_all(&self) {
        self.close_where(|_| true);
    }

    fn close_where(&self, wanted: impl Fn(&api::TerminalInfo) -> bool) {
        let orders: Vec<_> = self.with(|entries| {
            let wanted = entries.values().filter(|entry| wanted(&entry.info));
            wanted.map(|entry| entry.orders.clone()).collect()
        });
        for orders in orders {
            // One that is gone by now is closed.
            tokio::spawn(async move { orders.send(Order::Close).await.ok() });
        }
    }
}
