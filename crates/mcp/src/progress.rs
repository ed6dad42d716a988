//! Progress notifications: what a command writes, while it runs, for clients that asked for it.

use std::time::Duration;

use agentkernel_model::{PullEvent, PullProgress};
use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answers::whole_characters;

/// At most this often: a command that writes byte by byte must not cost the client a message each.
const BETWEEN: Duration = Duration::from_millis(100);

/// The most text of one notification. Of more the last part is sent; the result has it all, up to its own limit.
const MOST_TEXT: usize = 4096;

/// After this much silence the client is told that the command still runs: many wait a minute and no longer.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// One request's notifications.
pub(crate) struct Progress {
    peer: Peer<RoleServer>,
    token: ProgressToken,
    /// How many were sent: what `progress` counts, which must grow each time.
    sent: u32,
    waiting: Vec<u8>,
    left_out: bool,
    last: Instant,
}

impl Progress {
    /// `None` where the client asked for none.
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Option<Self> {
        let token = context.meta.get_progress_token()?;
        let peer = context.peer.clone();
        Some(Self { peer, token, sent: 0, waiting: Vec::new(), left_out: false, last: Instant::now() })
    }

    /// Says that a step is done.
    pub(crate) async fn step(&mut self, text: &str) {
        self.notify(text.to_owned()).await;
    }

    /// Takes output. Waits where the client doesn't read, and so makes the command wait.
    pub(crate) async fn output(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() > MOST_TEXT {
            self.left_out = true;
            self.waiting.drain(..self.waiting.len() - MOST_TEXT);
        }
        if self.last.elapsed() >= BETWEEN && whole_characters(&self.waiting) > 0 {
            self.send().await;
        }
    }

    /// Waits for the time to send what waits, or a sign of life where nothing does. May be dropped at any time.
    pub(crate) async fn due(&self) {
        let wait = if whole_characters(&self.waiting) > 0 { BETWEEN } else { SIGN_OF_LIFE };
        // sleep: the deadline of a notification, which the command's output may overtake
        tokio::time::sleep_until(self.last + wait).await;
    }

    /// Sends what waits, but for the beginning of a character whose rest has not come yet.
    pub(crate) async fn send(&mut self) {
        let whole = whole_characters(&self.waiting);
        if whole == 0 {
            return self.notify("still running".to_owned()).await;
        }
        let rest = self.waiting.split_off(whole);
        let bytes = std::mem::replace(&mut self.waiting, rest);
        let mark = if std::mem::take(&mut self.left_out) { "[...] " } else { "" };
        self.notify(format!("{mark}{}", String::from_utf8_lossy(&bytes))).await;
    }

    async fn notify(&mut self, text: String) {
        self.last = Instant::now();
        self.sent += 1;
        let notification =
            ProgressNotificationParam::new(self.token.clone(), self.sent.into()).with_message(text);
        if let Err(error) = self.peer.notify_progress(notification).await {
            // The answer will not arrive either; the request is then cancelled by who notices.
            tracing::debug!(%error, "a progress notification could not be sent");
        }
    }
}

/// What is told of an image that has to be fetched first.
pub(crate) struct PullNews(watch::Sender<String>);

impl PullNews {
    /// And where to hear of it.
    pub(crate) fn new() -> (Self, watch::Receiver<String>) {
        let (sender, receiver) = watch::channel(String::new());
        (Self(sender), receiver)
    }
}

impl PullProgress for PullNews {
    fn report(&self, event: PullEvent) {
        let text = match event {
            PullEvent::Resolving { reference } => format!("looking for image {reference}"),
            PullEvent::Layer { id, total, .. } => format!("fetching layer {id}, {} MiB", total >> 20),
            PullEvent::LayerDone { id } => format!("layer {id} is here"),
            PullEvent::Retry { why } => format!("trying again: {why}"),
            _ => return,
        };
        self.0.send_replace(text);
    }
}
