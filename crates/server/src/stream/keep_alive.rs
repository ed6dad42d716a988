//! Comments where an event stream is silent: proxies and clients give up on connections that seem dead.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Interval, MissedTickBehavior};

use super::sse;

/// How long a stream may be silent.
const SILENCE: Duration = Duration::from_secs(15);

struct WithKeepAlive {
    events: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    silence: Interval,
}

impl Stream for WithKeepAlive {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.events.as_mut().poll_next(context) {
            Poll::Ready(event) => {
                self.silence.reset();
                Poll::Ready(event.map(Ok))
            }
            Poll::Pending => self.silence.poll_tick(context).map(|_| Some(Ok(sse::KEEP_ALIVE))),
        }
    }
}

/// The answer that is made of these events.
pub(crate) fn with_keep_alive(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let first = tokio::time::Instant::now() + SILENCE;
    let mut silence = tokio::time::interval_at(first, SILENCE);
    silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut response = Response::new(Body::from_stream(WithKeepAlive { events: Box::pin(events), silence }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(sse::MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Some reverse proxies collect an answer before they pass it on unless they are told.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_comments() {
        let first = futures_util::stream::iter([Bytes::from_static(b"a")]);
        let response = with_keep_alive(first.chain(futures_util::stream::pending()));
        let mut body = response.into_body().into_data_stream();
        let begin = tokio::time::Instant::now();
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        for round in 1..3 {
            assert_eq!(body.next().await.unwrap().unwrap(), sse::KEEP_ALIVE);
            assert_eq!(begin.elapsed().as_secs(), 15 * round);
        }
    }
}
