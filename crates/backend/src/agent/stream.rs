//! Streams of a channel that end with an answer: a file's content, a tar stream, a list.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use agentkernel_protocol::{Channel, Event, Stream, StreamReader, decode_records};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::check;
use crate::BackendError;

/// The most bytes of a list: 100,000 entries with names of 255 bytes fit.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// A stream that isn't over before the agent has said that it is complete.
pub(super) struct Answered {
    reader: StreamReader,
    end: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
    complete: bool,
}

impl Answered {
    /// The output of `channel`, once the agent is ready to send it.
    pub(super) async fn open(channel: Channel, what: String) -> Result<Self, BackendError> {
        let reader = channel.reader(Stream::Output);
        match channel.receive().await.map_err(check::connection)? {
            Some(Event::Ready) => {}
            Some(Event::Failed(failure)) => return Err(check::failed(&what, failure)),
            other => return Err(check::unexpected(other)),
        }
        let end = async move {
            match channel.receive().await.map_err(io::Error::from)? {
                Some(Event::Done) => Ok(()),
                Some(Event::Failed(failure)) => Err(io::Error::other(check::failed(&what, failure))),
                other => Err(io::Error::other(check::unexpected(other))),
            }
        };
        Ok(Self { reader, end: Some(Box::pin(end)), complete: false })
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(end) = &mut self.end else {
            let cut = || io::Error::new(io::ErrorKind::ConnectionAborted, "the stream is not complete");
            return Poll::Ready(if self.complete { Ok(()) } else { Err(cut()) });
        };
        let result = end.as_mut().poll(context);
        if let Poll::Ready(result) = &result {
            self.end = None;
            self.complete = result.is_ok();
        }
        result
    }
}

impl AsyncRead for Answered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        match Pin::new(&mut self.reader).poll_read(context, out) {
            Poll::Ready(Ok(())) if out.filled().len() > before || out.remaining() == 0 => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) => self.poll_end(context),
            // Why it was cut off is in the answer.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {
                match self.poll_end(context) {
                    Poll::Ready(Ok(())) => Poll::Ready(Err(error)),
                    other => other,
                }
            }
            other => other,
        }
    }
}

/// The records of a list, all of them.
pub(super) async fn records<T>(channel: Channel, what: String, limit: usize) -> Result<Vec<T>, BackendError>
where
    T: for<'b> agentkernel_protocol::Decode<'b, ()>,
{
    let stream = Answered::open(channel, what.clone()).await?;
    let mut bytes = Vec::new();
    let mut limited = stream.take(MAX_LIST_BYTES + 1);
    limited.read_to_end(&mut bytes).await.map_err(|error| read_error(&what, error))?;
    if bytes.len() as u64 > MAX_LIST_BYTES {
        return Err(check::hostile(format!("a list of more than {MAX_LIST_BYTES} bytes")));
    }
    decode_records(&bytes, limit).map_err(|error| check::hostile(error.to_string()))
}

/// What a failed read means.
fn read_error(what: &str, error: io::Error) -> BackendError {
    let ended = error.kind() == io::ErrorKind::ConnectionReset;
    match error.downcast::<BackendError>() {
        Ok(error) => error,
        Err(error) if ended => BackendError::BoxEnded { why: error.to_string() },
        Err(error) => BackendError::runtime(format!("read {what}"), error),
    }
}
