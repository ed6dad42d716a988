//! The state of one channel and its streams, and what frames do to it.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use tokio::io::ReadBuf;

use super::error::ConnectionError;
use super::machine::{Machine, Role, WINDOW};
use crate::{Frame, Kind, MAX_PAYLOAD, Stream};

/// Messages of a channel that nobody has taken yet.
const MAX_MESSAGES: usize = 256;

/// Their bytes.
const MAX_MESSAGE_BYTES: usize = 4 * MAX_PAYLOAD;

/// Where the sender's side of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Complete,
    Aborted,
}

/// One stream: on one side it is sent, on the other received.
struct StreamState {
    /// Received and not yet read.
    buffer: VecDeque<u8>,
    /// What the sender may still send, as the receiver sees it; or as the sender sees it.
    credit: u32,
    /// Read and not yet granted anew.
    consumed: u32,
    /// Where the sender's side is.
    end: End,
    /// The receiver doesn't want more.
    stopped: bool,
    /// The `generation` of the outgoing buffer that holds a frame of it.
    queued_in: u64,
    waker: Option<Waker>,
}

impl Default for StreamState {
    fn default() -> Self {
        Self {
            buffer: VecDeque::new(),
            credit: WINDOW,
            consumed: 0,
            end: End::Open,
            stopped: false,
            queued_in: 0,
            waker: None,
        }
    }
}

impl StreamState {
    fn wake(&mut self) {
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

/// One channel.
#[derive(Default)]
pub(super) struct ChannelState {
    streams: [StreamState; 3],
    messages: VecDeque<Vec<u8>>,
    message_bytes: usize,
    message_waker: Option<Waker>,
    closed_here: bool,
    closed_there: bool,
}

/// What reading a stream gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Bytes,
    End,
    Aborted,
}

/// Why nothing can be written to a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoWrite {
    /// The reader doesn't want it, or this side has ended it.
    Stopped,
    Ended(ConnectionError),
}

impl ChannelState {
    pub(super) fn is_over(&self) -> bool {
        self.closed_here && self.closed_there
    }

    pub(super) fn wake_all(&mut self) {
        self.message_waker.take().into_iter().for_each(Waker::wake);
        self.streams.iter_mut().for_each(StreamState::wake);
    }

    fn stream(&mut self, stream: Stream) -> &mut StreamState {
        let [input, output, error] = &mut self.streams;
        match stream {
            Stream::Input => input,
            Stream::Output => output,
            Stream::Error => error,
        }
    }

    pub(super) fn receive(&mut self, role: Role, frame: Frame<'_>) -> Result<(), ConnectionError> {
        let channel = frame.channel;
        let fail = |what| Err(ConnectionError::Unexpected { channel, what });
        if self.closed_there {
            return fail("the channel is closed");
        }
        let (stream, from_sender) = match frame.kind {
            Kind::Message => return self.receive_message(frame),
            Kind::Close => {
                self.closed_there = true;
                self.wake_all();
                return Ok(());
            }
            Kind::Data(stream) | Kind::End(stream) | Kind::Abort(stream) => (stream, true),
            Kind::Credit(stream) | Kind::Stop(stream) => (stream, false),
            Kind::Hello | Kind::Open | Kind::OpenPart => return fail("the channel is open"),
        };
        if role.receives(stream) != from_sender {
            return fail("the stream goes the other way");
        }
        let discard = self.closed_here;
        let state = self.stream(stream);
        match frame.kind {
            Kind::Data(_) => state.receive_data(frame, stream, discard)?,
            Kind::End(_) | Kind::Abort(_) if state.end != End::Open => return fail("the stream has ended"),
            Kind::End(_) => state.end = End::Complete,
            Kind::Abort(_) => state.end = End::Aborted,
            Kind::Credit(_) => state.receive_credit(frame)?,
            _ => state.stopped = true,
        }
        state.wake();
        Ok(())
    }

    fn receive_message(&mut self, frame: Frame<'_>) -> Result<(), ConnectionError> {
        if self.closed_here {
            return Ok(());
        }
        self.message_bytes += frame.payload.len();
        if self.messages.len() == MAX_MESSAGES || self.message_bytes > MAX_MESSAGE_BYTES {
            return Err(ConnectionError::Flood { channel: frame.channel });
        }
        self.messages.push_back(frame.payload.to_vec());
        self.message_waker.take().into_iter().for_each(Waker::wake);
        Ok(())
    }
}

impl StreamState {
    fn receive_data(
        &mut self,
        frame: Frame<'_>,
        stream: Stream,
        discard: bool,
    ) -> Result<(), ConnectionError> {
        let channel = frame.channel;
        if self.end != End::Open || frame.payload.is_empty() {
            return Err(ConnectionError::Unexpected { channel, what: "data of an ended stream, or none" });
        }
        let length = frame.payload.len() as u32;
        self.credit = self.credit.checked_sub(length).ok_or(ConnectionError::Overrun { channel, stream })?;
        if !discard && !self.stopped {
            self.buffer.extend(frame.payload);
        }
        Ok(())
    }

    fn receive_credit(&mut self, frame: Frame<'_>) -> Result<(), ConnectionError> {
        let more = frame.payload.try_into().map(u32::from_le_bytes).ok();
        let credit = more.and_then(|more| self.credit.checked_add(more)).filter(|credit| *credit <= WINDOW);
        let what = "credit beyond the window";
        self.credit = credit.ok_or(ConnectionError::Unexpected { channel: frame.channel, what })?;
        Ok(())
    }

    fn take(&mut self, out: &mut ReadBuf<'_>) -> usize {
        let (first, second) = self.buffer.as_slices();
        let mut taken = 0;
        for slice in [first, second] {
            let length = slice.len().min(out.remaining());
            out.put_slice(&slice[..length]);
            taken += length;
        }
        self.buffer.drain(..taken);
        if self.buffer.is_empty() && self.buffer.capacity() > MAX_PAYLOAD {
            self.buffer = VecDeque::new();
        }
        taken
    }
}

impl Machine {
    /// Reads from a stream into `out`, which must have room.
    pub(super) fn poll_read(
        &mut self,
        channel: u32,
        stream: Stream,
        out: &mut ReadBuf<'_>,
        waker: &Waker,
    ) -> Poll<Result<Read, ConnectionError>> {
        let ended = self.ended.clone();
        let Some(state) = self.channels.get_mut(&channel) else {
            return Poll::Ready(Err(ended.unwrap_or(ConnectionError::Dropped)));
        };
        let closed_there = state.closed_there;
        let state = state.stream(stream);
        if !state.buffer.is_empty() {
            let taken = state.take(out);
            state.consumed += taken as u32;
            if state.consumed >= WINDOW / 2 && state.end == End::Open {
                let more = std::mem::take(&mut state.consumed);
                state.credit += more;
                self.push(channel, Kind::Credit(stream), &more.to_le_bytes());
            }
            return Poll::Ready(Ok(Read::Bytes));
        }
        match state.end {
            End::Complete => return Poll::Ready(Ok(Read::End)),
            End::Aborted => return Poll::Ready(Ok(Read::Aborted)),
            End::Open => {}
        }
        if let Some(error) = ended {
            return Poll::Ready(Err(error));
        }
        if closed_there {
            return Poll::Ready(Ok(Read::Aborted));
        }
        state.waker = Some(waker.clone());
        Poll::Pending
    }

    /// How many bytes can be put into one frame of a stream now.
    pub(super) fn poll_room(
        &mut self,
        channel: u32,
        stream: Stream,
        waker: &Waker,
    ) -> Poll<Result<usize, NoWrite>> {
        if let Some(error) = self.ended.clone() {
            return Poll::Ready(Err(NoWrite::Ended(error)));
        }
        let (has_room, generation) = (self.has_room(), self.generation);
        let Some(state) = self.channels.get_mut(&channel) else {
            return Poll::Ready(Err(NoWrite::Stopped));
        };
        let closed_there = state.closed_there;
        let state = state.stream(stream);
        if closed_there || state.stopped || state.end != End::Open {
            return Poll::Ready(Err(NoWrite::Stopped));
        }
        // Also where it waits for its turn: it may be stopped meanwhile.
        state.waker = Some(waker.clone());
        if state.credit == 0 {
            return Poll::Pending;
        }
        if state.queued_in == generation {
            self.turn_wakers.push(waker.clone());
            return Poll::Pending;
        }
        if !has_room {
            self.room_wakers.push(waker.clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(MAX_PAYLOAD.min(state.credit as usize)))
    }

    /// Waits until the reader has stopped the stream, or the channel is over.
    pub(super) fn poll_stopped(&mut self, channel: u32, stream: Stream, waker: &Waker) -> Poll<()> {
        if self.ended.is_some() {
            return Poll::Ready(());
        }
        let Some(state) = self.channels.get_mut(&channel) else { return Poll::Ready(()) };
        let closed_there = state.closed_there;
        let state = state.stream(stream);
        if closed_there || state.stopped {
            return Poll::Ready(());
        }
        state.waker = Some(waker.clone());
        Poll::Pending
    }

    /// Sends `bytes` as one frame; no more than [`Machine::poll_room`] allowed just before.
    pub(super) fn write(&mut self, channel: u32, stream: Stream, bytes: &[u8]) {
        let generation = self.generation;
        let Some(state) = self.channels.get_mut(&channel) else { return };
        let state = state.stream(stream);
        debug_assert!(bytes.len() <= state.credit as usize);
        state.credit -= bytes.len() as u32;
        state.queued_in = generation;
        self.push(channel, Kind::Data(stream), bytes);
    }

    /// The same with what `fill` appends to the buffer that it is given: at most so many bytes, and no frame at all where
    /// it appends none.
    pub(super) fn write_with<T>(
        &mut self,
        channel: u32,
        stream: Stream,
        fill: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> Option<T> {
        let generation = self.generation;
        let state = self.channels.get_mut(&channel).filter(|_| self.ended.is_none())?;
        let state = state.stream(stream);
        let at = self.outgoing.len();
        Frame { channel, kind: Kind::Data(stream), payload: &[] }.encode(&mut self.outgoing);
        let begin = self.outgoing.len();
        let result = fill(&mut self.outgoing);
        let length = self.outgoing.len().saturating_sub(begin);
        if length == 0 {
            self.outgoing.truncate(at);
            return Some(result);
        }
        debug_assert!(length <= MAX_PAYLOAD.min(state.credit as usize));
        if let Some(place) = self.outgoing.get_mut(at..at + 4) {
            place.copy_from_slice(&(length as u32).to_le_bytes());
        }
        state.credit = state.credit.saturating_sub(length as u32);
        state.queued_in = generation;
        self.wake_writer();
        Some(result)
    }

    /// Ends a stream that this side sends. Later calls change nothing.
    pub(super) fn end_stream(&mut self, channel: u32, stream: Stream, complete: bool) {
        let Some(state) = self.channels.get_mut(&channel) else { return };
        let closed = state.closed_here;
        let state = state.stream(stream);
        if closed || state.end != End::Open {
            return;
        }
        let (end, kind) =
            if complete { (End::Complete, Kind::End(stream)) } else { (End::Aborted, Kind::Abort(stream)) };
        state.end = end;
        self.push(channel, kind, &[]);
    }

    /// Tells the sender that the rest of a stream isn't wanted.
    pub(super) fn stop_stream(&mut self, channel: u32, stream: Stream) {
        let Some(state) = self.channels.get_mut(&channel) else { return };
        let tell = !state.closed_here && !state.closed_there;
        let state = state.stream(stream);
        let tell = tell && !state.stopped && state.end == End::Open;
        state.stopped = true;
        state.buffer = VecDeque::new();
        if tell {
            self.push(channel, Kind::Stop(stream), &[]);
        }
    }

    /// The next message; `None` after the other side's last.
    pub(super) fn poll_message(
        &mut self,
        channel: u32,
        waker: &Waker,
    ) -> Poll<Result<Option<Vec<u8>>, ConnectionError>> {
        let ended = self.ended.clone();
        let Some(state) = self.channels.get_mut(&channel) else {
            return Poll::Ready(Err(ended.unwrap_or(ConnectionError::Dropped)));
        };
        if let Some(message) = state.messages.pop_front() {
            state.message_bytes -= message.len();
            return Poll::Ready(Ok(Some(message)));
        }
        if let Some(error) = ended {
            return Poll::Ready(Err(error));
        }
        if state.closed_there {
            return Poll::Ready(Ok(None));
        }
        state.message_waker = Some(waker.clone());
        Poll::Pending
    }

    /// This side is done with the channel.
    pub(super) fn close(&mut self, channel: u32) {
        let Some(state) = self.channels.get_mut(&channel) else { return };
        if state.closed_here {
            return;
        }
        state.closed_here = true;
        state.messages = VecDeque::new();
        state.streams.iter_mut().for_each(|stream| stream.buffer = VecDeque::new());
        if state.is_over() {
            self.channels.remove(&channel);
        }
        self.push(channel, Kind::Close, &[]);
    }
}
