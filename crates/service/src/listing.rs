//! All sandboxes, seen lately: a list of many must not read every record and ask about every process each time.
//!
//! A record that was written anew is always read again. Whether a box lives is asked at least every [`FRESH`]: what a
//! command does shows at once, and only a box that dies by itself may be shown as running for that long. Where lists are
//! asked for without a pause, the asking is done between them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use agentkernel_api as api;
use agentkernel_engine::EngineError;
use agentkernel_model::SandboxName;
use agentkernel_store::{RecordStamp, StoreError};

use crate::service::Inner;
use crate::{ServiceError, view};

/// How long a box is believed to live on.
const FRESH: Duration = Duration::from_secs(2);

/// From this age on, a box is asked about before anybody waits for it.
const AGING: Duration = Duration::from_millis(500);

/// One sandbox as it was seen.
#[derive(Debug, Clone)]
struct Seen {
    stamp: RecordStamp,
    at: Instant,
    sandbox: api::Sandbox,
}

/// What was seen lately.
#[derive(Default)]
pub(crate) struct Listing {
    seen: Mutex<HashMap<SandboxName, Seen>>,
    refreshing: AtomicBool,
}

impl Inner {
    /// All sandboxes by name. Records that can't be read are left out.
    pub(crate) async fn all_sandboxes(self: &Arc<Self>) -> Result<Vec<api::Sandbox>, ServiceError> {
        let store = self.engine.store().clone();
        let looked = self.blocking(move || {
            let names = store.names()?;
            let stamped = names.into_iter().map(|name| Ok((store.stamp(&name)?, name)));
            stamped.collect::<Result<Vec<_>, StoreError>>()
        });
        let stamped = looked.await?.map_err(EngineError::from)?;
        let now = Instant::now();
        let (mut found, unknown, aging) = self.listing.recall(&stamped, now);
        for (stamp, name) in unknown {
            if let Some(sandbox) = self.see(&name, stamp).await {
                found.push(sandbox);
            }
            // Looking is quick and waits for nothing: others get their turn.
            tokio::task::yield_now().await;
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        self.refresh(aging);
        Ok(found)
    }

    /// Looks at one; `None` where it is gone or can't be read.
    async fn see(&self, name: &SandboxName, stamp: RecordStamp) -> Option<api::Sandbox> {
        let at = Instant::now();
        let sandbox = match self.engine.info(name).await {
            Ok(view) => view::sandbox(&view),
            Err(error) => {
                tracing::debug!(sandbox = %name, %error, "a sandbox is left out of the list");
                return None;
            }
        };
        if stamp.is_settled(SystemTime::now()) {
            let seen = Seen { stamp, at, sandbox: sandbox.clone() };
            self.listing.lock().insert(name.clone(), seen);
        }
        Some(sandbox)
    }

    /// Looks at what will be too old soon, once at a time.
    fn refresh(self: &Arc<Self>, aging: Vec<(RecordStamp, SandboxName)>) {
        if aging.is_empty() || self.listing.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            for (stamp, name) in aging {
                inner.see(&name, stamp).await;
                tokio::task::yield_now().await;
            }
            inner.listing.refreshing.store(false, Ordering::Release);
        });
    }
}

type Stamped = (RecordStamp, SandboxName);

impl Listing {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxName, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, what has to be looked at, and what is known but aging. Forgets what isn't there any more.
    fn recall(
        &self,
        stamped: &[(Option<RecordStamp>, SandboxName)],
        now: Instant,
    ) -> (Vec<api::Sandbox>, Vec<Stamped>, Vec<Stamped>) {
        let mut seen = self.lock();
        let (mut found, mut unknown, mut aging) = (Vec::with_capacity(stamped.len()), Vec::new(), Vec::new());
        for (stamp, name) in stamped {
            let Some(stamp) = stamp else { continue };
            match seen.get(name).filter(|seen| seen.stamp == *stamp) {
                Some(known) if now.saturating_duration_since(known.at) < FRESH => {
                    found.push(known.sandbox.clone());
                    if now.saturating_duration_since(known.at) >= AGING {
                        aging.push((*stamp, name.clone()));
                    }
                }
                _ => unknown.push((*stamp, name.clone())),
            }
        }
        if seen.len() > stamped.len() {
            seen.retain(|name, _| stamped.binary_search_by(|(_, other)| other.cmp(name)).is_ok());
        }
        (found, unknown, aging)
    }
}
