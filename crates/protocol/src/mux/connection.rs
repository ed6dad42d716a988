//! The two ends of a connection, and the task that moves bytes between a machine and the wire.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::channel::Channel;
use super::error::ConnectionError;
use super::machine::{Machine, Role};
use crate::{HEADER_LENGTH, Hello, MAX_PAYLOAD, MessageError, Request, decode, encode};

/// The machine, as its users share it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Machine>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Machine> {
        // A panic under the lock can't leave the machine worse than a dead connection.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every user of a connection holds: with the last of them the connection ends.
pub(super) struct Hold {
    pub(super) shared: Shared,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.lock().finish();
    }
}

fn connection<S>(
    stream: S,
    role: Role,
    software: &str,
) -> (Arc<Hold>, impl Future<Output = ConnectionError> + use<S>)
where
    S: AsyncRead + AsyncWrite,
{
    let shared = Shared(Arc::new(Mutex::new(Machine::new(role, software))));
    let hold = Arc::new(Hold { shared: shared.clone() });
    (hold, drive(shared, stream))
}

async fn ready(hold: &Hold) -> Result<Hello, ConnectionError> {
    poll_fn(|context| {
        let mut machine = hold.shared.lock();
        if let Some(hello) = machine.peer() {
            return Poll::Ready(Ok(hello.clone()));
        }
        if let Err(error) = machine.alive() {
            return Poll::Ready(Err(error));
        }
        machine.wait_peer(context.waker());
        Poll::Pending
    })
    .await
}

/// The end that opens channels.
#[derive(Clone)]
pub struct Host {
    hold: Arc<Hold>,
}

impl Host {
    /// A connection over `stream`. The future must be run for anything to move; it ends with the connection.
    pub fn new<S>(stream: S, software: &str) -> (Self, impl Future<Output = ConnectionError> + use<S>)
    where
        S: AsyncRead + AsyncWrite,
    {
        let (hold, driver) = connection(stream, Role::Host, software);
        (Self { hold }, driver)
    }

    /// Waits for the guest's hello.
    pub async fn ready(&self) -> Result<Hello, ConnectionError> {
        ready(&self.hold).await
    }

    /// Why the connection is over, if it is.
    pub fn closed(&self) -> Option<ConnectionError> {
        self.hold.shared.lock().alive().err()
    }

    /// Opens a channel; doesn't wait for the guest, not even for its hello.
    pub async fn open(&self, request: &Request) -> Result<Channel, ConnectionError> {
        let request = encode(request);
        poll_fn(|context| {
            let mut machine = self.hold.shared.lock();
            machine.alive()?;
            if !machine.has_room() {
                machine.room_wakers.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(machine.open(&request).map(|id| Channel::new(Arc::clone(&self.hold), id)))
        })
        .await
    }
}

/// A channel that the host has opened.
pub struct Accepted {
    /// The channel.
    pub channel: Channel,
    /// What the host wants; an error where this version doesn't know such a request.
    pub request: Result<Request, MessageError>,
}

/// The end that serves channels.
pub struct Guest {
    hold: Arc<Hold>,
}

impl Guest {
    /// A connection over `stream`. The future must be run for anything to move; it ends with the connection.
    pub fn new<S>(stream: S, software: &str) -> (Self, impl Future<Output = ConnectionError> + use<S>)
    where
        S: AsyncRead + AsyncWrite,
    {
        let (hold, driver) = connection(stream, Role::Guest, software);
        (Self { hold }, driver)
    }

    /// The next channel; an error once the connection is over.
    pub async fn accept(&self) -> Result<Accepted, ConnectionError> {
        poll_fn(|context| {
            let mut machine = self.hold.shared.lock();
            if let Some((id, request)) = machine.accept() {
                let channel = Channel::new(Arc::clone(&self.hold), id);
                return Poll::Ready(Ok(Accepted { channel, request: decode(&request) }));
            }
            machine.alive()?;
            machine.wait_accept(context.waker());
            Poll::Pending
        })
        .await
    }
}

/// Moves bytes until the connection is over, and says why.
async fn drive<S: AsyncRead + AsyncWrite>(shared: Shared, stream: S) -> ConnectionError {
    let (reader, writer) = tokio::io::split(stream);
    let error = {
        let mut read = pin!(read(&shared, reader));
        let mut write = pin!(write(&shared, writer));
        let mut write_over = false;
        poll_fn(|context: &mut Context<'_>| {
            if !write_over && let Poll::Ready(end) = write.as_mut().poll(context) {
                // Where writing failed, what the other side sent before is still worth reading.
                write_over = true;
                if end == ConnectionError::Dropped {
                    return Poll::Ready(end);
                }
            }
            read.as_mut().poll(context)
        })
        .await
    };
    shared.lock().end(error.clone());
    error
}

async fn read(shared: &Shared, mut reader: impl AsyncRead + Unpin) -> ConnectionError {
    let mut buffer = vec![0; 2 * (HEADER_LENGTH + MAX_PAYLOAD)];
    let (mut start, mut end) = (0, 0);
    loop {
        poll_fn(
            |context| {
                if shared.lock().wants_bytes(context.waker()) { Poll::Ready(()) } else { Poll::Pending }
            },
        )
        .await;
        match shared.lock().receive(&buffer[start..end]) {
            Ok(taken) => start += taken,
            Err(error) => return error,
        }
        if start == end {
            (start, end) = (0, 0);
        } else if start > buffer.len() / 2 {
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
        }
        if end == buffer.len() {
            // Full with whole frames that wait for `wants_bytes`.
            continue;
        }
        match reader.read(&mut buffer[end..]).await {
            Ok(0) => return ConnectionError::Closed,
            Ok(length) => end += length,
            Err(error) => return ConnectionError::Io { why: error.to_string() },
        }
    }
}

async fn write(shared: &Shared, mut writer: impl AsyncWrite + Unpin) -> ConnectionError {
    let mut spare = Vec::new();
    loop {
        let batch = poll_fn(|context| {
            let mut machine = shared.lock();
            if let Some(batch) = machine.take_outgoing(std::mem::take(&mut spare)) {
                return Poll::Ready(Some(batch));
            }
            if machine.wait_outgoing(context.waker()) { Poll::Ready(None) } else { Poll::Pending }
        })
        .await;
        let Some(mut batch) = batch else {
            return match writer.shutdown().await {
                Ok(()) => ConnectionError::Dropped,
                Err(error) => ConnectionError::Io { why: error.to_string() },
            };
        };
        if let Err(error) = writer.write_all(&batch).await {
            return ConnectionError::Io { why: error.to_string() };
        }
        // A stream in full flow fills the same buffers again and again.
        if batch.capacity() <= 4 * MAX_PAYLOAD {
            batch.clear();
            spare = batch;
        }
    }
}
