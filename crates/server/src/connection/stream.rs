//! A connection's bytes, with clocks: one for idleness, one for heads that come drop by drop. And an end that lets the
//! client read the last answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::phase::Doing;
use super::{Phase, Slot};
use crate::ConnectionLimits;

/// How long we listen to a client that still sends when its request has been refused: a socket that is closed with unread
/// bytes takes back even what was written before (tcp(7), RST), the refusal with it.
const LINGER: Duration = Duration::from_secs(2);
/// How much of that is read.
const LINGER_BYTES: usize = 64 << 20;

/// A stream that ends by itself when its client takes too long.
pub(crate) struct WatchedStream<S> {
    inner: S,
    phase: Arc<Phase>,
    head_timeout: Duration,
    idle_timeout: Duration,
    /// Made when it is first needed.
    clock: Option<Pin<Box<Sleep>>>,
    /// What the clock was set for.
    set_for: Option<Doing>,
    farewell: Option<Farewell>,
    /// Given back when the connection is gone, whoever holds it by then.
    _slot: Slot,
}

/// The end of a connection.
struct Farewell {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl<S> WatchedStream<S> {
    pub(crate) fn new(inner: S, phase: Arc<Phase>, limits: &ConnectionLimits, slot: Slot) -> Self {
        Self {
            inner,
            phase,
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            clock: None,
            set_for: None,
            farewell: None,
            _slot: slot,
        }
    }

    /// Whether the time is up. To be asked when there is nothing to read.
    ///
    /// A request that is served has all the time that it takes, and the clock runs even so: when it has been answered,
    /// nothing asks to read until the clock does, and only then idleness is counted. So it lasts up to twice as long.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let doing = self.phase.get();
        let timeout = match doing {
            Doing::Idle | Doing::Busy => self.idle_timeout,
            Doing::Head => self.head_timeout,
            Doing::Upgraded => return false,
        };
        loop {
            if self.set_for != Some(doing) {
                self.set_for = Some(doing);
                let deadline = Instant::now() + timeout;
                match &mut self.clock {
                    Some(clock) => clock.as_mut().reset(deadline),
                    // sleep: the deadline of what the client is to send
                    None => self.clock = Some(Box::pin(tokio::time::sleep_until(deadline))),
                }
            }
            if !self.clock.as_mut().is_some_and(|clock| clock.as_mut().poll(context).is_ready()) {
                return false;
            }
            if doing != Doing::Busy {
                return true;
            }
            self.set_for = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(context, buffer) {
            Poll::Ready(result) => {
                if buffer.filled().len() > before && this.phase.get() == Doing::Idle {
                    this.phase.set(Doing::Head);
                    this.set_for = None;
                }
                Poll::Ready(result)
            }
            Poll::Pending if this.is_late(context) => {
                let what = match this.phase.get() {
                    Doing::Head => "the head of a request took too long",
                    _ => "the connection was idle for too long",
                };
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    /// Says that nothing more comes, and hears the client out for a while.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let farewell = match &mut this.farewell {
            Some(farewell) => farewell,
            None => {
                ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
                if !this.phase.is_unread() {
                    return Poll::Ready(Ok(()));
                }
                let until = Box::pin(tokio::time::sleep(LINGER)); // sleep: the bound of the wait for the client's end
                this.farewell.insert(Farewell { until, left: LINGER_BYTES })
            }
        };
        let mut space = [0; 8192];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut this.inner).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    farewell.left = farewell.left.saturating_sub(buffer.filled().len());
                    if farewell.left == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                // Its end, or the connection's.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return farewell.until.as_mut().poll(context).map(Ok),
            }
        }
    }
}
