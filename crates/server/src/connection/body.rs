//! A request's body that may not pause for ever, and an answer's body whose end is the request's end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use agentkernel_api::ErrorCode;
use axum::BoxError;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::Phase;
use super::phase::Doing;
use crate::answer::Refusal;

/// The slowest that a body may come, in bytes a second. Slower ones use their patience up.
const SLOWEST: f64 = 1024.0;

/// What a client sends.
pub(crate) struct WatchedBody {
    inner: Incoming,
    phase: Arc<Phase>,
    most: Duration,
    /// How long we still wait. Only waiting for the client counts: a slow sandbox is not its fault.
    patience: Duration,
    clock: Option<Pin<Box<Sleep>>>,
    /// Since when we wait.
    waiting: Option<Instant>,
    ended: bool,
}

impl WatchedBody {
    pub(crate) fn new(inner: Incoming, phase: Arc<Phase>, most: Duration) -> Self {
        Self { inner, phase, most, patience: most, clock: None, waiting: None, ended: false }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        if self.waiting.is_none() {
            let now = Instant::now();
            self.waiting = Some(now);
            let deadline = now + self.patience;
            match &mut self.clock {
                Some(clock) => clock.as_mut().reset(deadline),
                // sleep: the deadline of what the client is to send
                None => self.clock = Some(Box::pin(tokio::time::sleep_until(deadline))),
            }
        }
        self.clock.as_mut().is_some_and(|clock| clock.as_mut().poll(context).is_ready())
    }

    /// So many bytes have come.
    fn received(&mut self, bytes: usize) {
        if let Some(since) = self.waiting.take() {
            let earned = Duration::from_secs_f64(bytes as f64 / SLOWEST);
            self.patience =
                self.patience.saturating_sub(since.elapsed()).saturating_add(earned).min(self.most);
        }
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        if !self.ended && !self.inner.is_end_stream() {
            self.phase.leave_unread();
        }
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(frame) => {
                match &frame {
                    Some(Ok(frame)) => this.received(frame.data_ref().map_or(0, Bytes::len)),
                    Some(Err(_)) => {}
                    None => this.ended = true,
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
            }
            Poll::Pending if this.is_late(context) => {
                let message = format!("the body came too slowly: less than {SLOWEST} bytes a second");
                Poll::Ready(Some(Err(Refusal::new(ErrorCode::RequestTimeout, message).into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What the server answers. When it is dropped, sent or not, the connection waits for the next request.
pub(crate) struct AnswerBody {
    inner: Body,
    _end: End,
}

/// Sets the phase when it is dropped.
struct End {
    phase: Arc<Phase>,
    next: Doing,
}

impl AnswerBody {
    pub(crate) fn new(inner: Body, phase: Arc<Phase>, next: Doing) -> Self {
        Self { inner, _end: End { phase, next } }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.phase.set(self.next);
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
