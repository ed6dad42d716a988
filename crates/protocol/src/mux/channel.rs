//! A channel as its user holds it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use minicbor::{Decode, Encode};

use super::connection::Hold;
use super::error::ConnectionError;
use super::stream::{StreamReader, StreamWriter};
use crate::{Kind, Stream, decode, encode};

/// One channel. Clones and streams share it; the other side is told that it is over when the last of them is dropped.
#[derive(Clone)]
pub struct Channel {
    pub(super) open: Arc<Open>,
}

pub(super) struct Open {
    pub(super) hold: Arc<Hold>,
    pub(super) id: u32,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.hold.shared.lock().close(self.id);
    }
}

impl Channel {
    pub(super) fn new(hold: Arc<Hold>, id: u32) -> Self {
        Self { open: Arc::new(Open { hold, id }) }
    }

    /// Sends a message; waits for room in the connection's queue.
    pub async fn send<T: Encode<()>>(&self, message: &T) -> Result<(), ConnectionError> {
        let message = encode(message);
        poll_fn(|context| {
            let mut machine = self.open.hold.shared.lock();
            machine.alive()?;
            if !machine.has_room() {
                machine.room_wakers.push(context.waker().clone());
                return Poll::Pending;
            }
            machine.push(self.open.id, Kind::Message, &message);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// The next message; `None` after the other side has closed the channel. Messages that can't be read are errors of
    /// the channel only. One task at a time may wait here.
    pub async fn receive<T: for<'b> Decode<'b, ()>>(&self) -> Result<Option<T>, ConnectionError> {
        let message =
            poll_fn(|context| self.open.hold.shared.lock().poll_message(self.open.id, context.waker()))
                .await?;
        Ok(message.map(|message| decode(&message)).transpose()?)
    }

    /// Takes the reading end of a stream that the other side sends. To be called once for each.
    pub fn reader(&self, stream: Stream) -> StreamReader {
        StreamReader::new(self.clone(), stream)
    }

    /// Takes the writing end of a stream that this side sends. To be called once for each.
    pub fn writer(&self, stream: Stream) -> StreamWriter {
        StreamWriter::new(self.clone(), stream)
    }
}
