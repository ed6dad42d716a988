//! The progress of fetching an image, as events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use agentkernel_api::{ImageInfo, PullRequest};
use agentkernel_model::{PullEvent, PullProgress};
use agentkernel_service::{Caller, Service, ServiceError};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::sync::Notify;

use super::keep_alive::with_keep_alive;
use super::sse;
use crate::answer::Refusal;

/// The most events that wait for a slow reader; of later ones only the newest count.
const WAITING: usize = 64;

/// What was reported and has not left yet.
#[derive(Default)]
pub(crate) struct Reports {
    waiting: Mutex<VecDeque<PullEvent>>,
    new: Notify,
}

impl PullProgress for Reports {
    fn report(&self, event: PullEvent) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match (&event, waiting.back()) {
            // Only how far a layer is now is of interest.
            (PullEvent::Progress { id, .. }, Some(PullEvent::Progress { id: last, .. })) if id == last => {
                waiting.pop_back();
            }
            _ if waiting.len() == WAITING => {
                waiting.pop_front();
            }
            _ => {}
        }
        waiting.push_back(event);
        self.new.notify_one();
    }
}

impl Reports {
    /// The next report as an event. Waits until there is one; dropping the future loses nothing.
    pub(super) async fn next(&self) -> Bytes {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            self.new.notified().await;
        }
    }

    /// The next report as an event, if there is one.
    pub(super) fn take(&self) -> Option<Bytes> {
        let event = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        Some(sse::progress("image_pull", None, Some(&described(&event))))
    }
}

fn described(event: &PullEvent) -> String {
    match event {
        PullEvent::Resolving { reference } => format!("resolving {reference}"),
        PullEvent::Layer { id, done: _, total: 0 } => format!("{id}: begun"),
        PullEvent::Layer { id, done, total } => format!("{id}: {done} of {total} bytes"),
        PullEvent::LayerPresent { id } => format!("{id}: already here"),
        PullEvent::Progress { id, done } => format!("{id}: {done} bytes"),
        other => format!("{other:?}").to_lowercase(),
    }
}

type Pulling = std::pin::Pin<Box<dyn Future<Output = Result<ImageInfo, ServiceError>> + Send>>;

/// The answer that follows a fetch to its end. Dropping it ends the fetch.
pub(crate) fn of_pull(service: Service, caller: Caller, request: PullRequest) -> Response {
    #[derive(Serialize)]
    struct Done {
        image: ImageInfo,
    }
    let reports = Arc::new(Reports::default());
    let told = Arc::clone(&reports);
    let pulling: Pulling = Box::pin(async move { service.pull(&caller, request, &*told).await });
    with_keep_alive(unfold(Some(pulling), move |pulling| {
        let reports = Arc::clone(&reports);
        async move {
            let mut pulling = pulling?;
            if let Some(event) = reports.take() {
                return Some((event, Some(pulling)));
            }
            tokio::select! {
                event = reports.next() => Some((event, Some(pulling))),
                pulled = &mut pulling => Some(match pulled {
                    Ok(image) => (sse::event("done", None, &Done { image }), None),
                    Err(error) => (sse::error(&Refusal::from(error).body()), None),
                }),
            }
        }
    }))
}
