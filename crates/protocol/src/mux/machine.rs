//! All state of one connection, without I/O: bytes that arrived go in, bytes to send come out, and wakers of whoever
//! waits are called. Memory is bounded whatever arrives: a stream's buffer by its window, messages and requests by count
//! and length, channels by number.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use super::error::ConnectionError;
use super::machine_channel::ChannelState;
use crate::{Frame, Hello, Kind, MAGIC, MAJOR, MAX_PAYLOAD, MINOR, Stream, decode, encode};

/// Bytes of a stream that may be on their way or unread.
pub const WINDOW: u32 = 256 * 1024;

/// Channels that may be open at once.
pub const MAX_CHANNELS: usize = 4096;

/// The longest request. Linux allows 2 MiB of arguments and environment by default.
pub const MAX_OPEN_LENGTH: usize = 4 * 1024 * 1024;

/// Nothing but short control frames is queued on top of this.
const OUTGOING_LIMIT: usize = 256 * 1024;

/// Requests that nobody has accepted yet; more are left on the wire.
const OPENED_LIMIT: usize = 2 * MAX_OPEN_LENGTH;

/// Which side this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opens channels.
    Host,
    /// Serves them.
    Guest,
}

impl Role {
    pub(super) fn receives(self, stream: Stream) -> bool {
        (stream == Stream::Input) == (self == Self::Guest)
    }
}

/// The state of one connection.
pub struct Machine {
    pub(super) role: Role,
    pub(super) channels: HashMap<u32, ChannelState>,
    pub(super) outgoing: Vec<u8>,
    /// Counts how often `outgoing` was taken: a stream puts one frame into each.
    pub(super) generation: u64,
    pub(super) ended: Option<ConnectionError>,
    peer: Option<Hello>,
    last_channel: u32,
    assembling: Option<(u32, Vec<u8>)>,
    opened: VecDeque<(u32, Vec<u8>)>,
    opened_bytes: usize,
    finishing: bool,
    reader_waker: Option<Waker>,
    writer_waker: Option<Waker>,
    accept_waker: Option<Waker>,
    peer_wakers: Vec<Waker>,
    /// Those who found no room in `outgoing` go before those who had put a frame into it.
    pub(super) room_wakers: Vec<Waker>,
    pub(super) turn_wakers: Vec<Waker>,
}

impl Machine {
    /// A fresh connection; the hello is queued.
    pub fn new(role: Role, software: &str) -> Self {
        let mut machine = Self {
            role,
            channels: HashMap::new(),
            outgoing: Vec::new(),
            generation: 1,
            ended: None,
            peer: None,
            last_channel: 0,
            assembling: None,
            opened: VecDeque::new(),
            opened_bytes: 0,
            finishing: false,
            reader_waker: None,
            writer_waker: None,
            accept_waker: None,
            peer_wakers: Vec::new(),
            room_wakers: Vec::new(),
            turn_wakers: Vec::new(),
        };
        let hello = Hello {
            magic: MAGIC.to_vec().into(),
            major: MAJOR,
            minor: MINOR,
            software: software.to_owned(),
            max_payload: MAX_PAYLOAD as u32,
            window: WINDOW,
        };
        machine.push(0, Kind::Hello, &encode(&hello));
        machine
    }

    /// Takes the frames at the start of `bytes`; returns how many bytes they were. An error is final.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<usize, ConnectionError> {
        let mut taken = 0;
        while let Some((frame, length)) = Frame::decode(bytes.get(taken..).unwrap_or_default())? {
            self.receive_frame(frame)?;
            taken += length;
            if self.opened_bytes > OPENED_LIMIT {
                break;
            }
        }
        Ok(taken)
    }

    fn receive_frame(&mut self, frame: Frame<'_>) -> Result<(), ConnectionError> {
        if self.peer.is_none() {
            return self.receive_hello(frame);
        }
        match frame.kind {
            Kind::Hello => {
                Err(ConnectionError::Unexpected { channel: frame.channel, what: "a second hello" })
            }
            Kind::Open => self.receive_open(frame, true),
            Kind::OpenPart => self.receive_open(frame, false),
            _ => {
                let channel = frame.channel;
                let unknown = ConnectionError::Unexpected { channel, what: "the channel is not open" };
                let state = self.channels.get_mut(&channel).ok_or(unknown)?;
                state.receive(self.role, frame)?;
                if state.is_over() {
                    self.channels.remove(&channel);
                }
                Ok(())
            }
        }
    }

    fn receive_hello(&mut self, frame: Frame<'_>) -> Result<(), ConnectionError> {
        if frame.kind != Kind::Hello || frame.channel != 0 {
            return Err(ConnectionError::NotOurs);
        }
        let hello: Hello = decode(frame.payload).map_err(|_| ConnectionError::NotOurs)?;
        if hello.magic.as_slice() != MAGIC {
            return Err(ConnectionError::NotOurs);
        }
        let agreed =
            hello.major == MAJOR && hello.max_payload == MAX_PAYLOAD as u32 && hello.window == WINDOW;
        if !agreed {
            return Err(ConnectionError::Version { ours: MAJOR, theirs: hello.major });
        }
        self.peer = Some(hello);
        self.peer_wakers.drain(..).for_each(Waker::wake);
        Ok(())
    }

    fn receive_open(&mut self, frame: Frame<'_>, last: bool) -> Result<(), ConnectionError> {
        let channel = frame.channel;
        let fail = |what| Err(ConnectionError::Unexpected { channel, what });
        if self.role != Role::Guest {
            return fail("only a host opens channels");
        }
        let mut request = match self.assembling.take() {
            Some((assembling, _)) if assembling != channel => {
                return fail("two requests are mixed up");
            }
            Some((_, request)) => request,
            None if channel <= self.last_channel => return fail("the channel was opened before"),
            None if self.channels.len() >= MAX_CHANNELS => return Err(ConnectionError::TooManyChannels),
            None => Vec::new(),
        };
        if request.len() + frame.payload.len() > MAX_OPEN_LENGTH {
            return Err(ConnectionError::RequestTooLong);
        }
        request.extend_from_slice(frame.payload);
        if !last {
            self.assembling = Some((channel, request));
            return Ok(());
        }
        self.last_channel = channel;
        self.channels.insert(channel, ChannelState::default());
        // An empty request takes room too.
        self.opened_bytes += request.len() + 64;
        self.opened.push_back((channel, request));
        self.accept_waker.take().into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Opens a channel with an encoded request. Host only.
    pub fn open(&mut self, request: &[u8]) -> Result<u32, ConnectionError> {
        self.alive()?;
        if request.len() > MAX_OPEN_LENGTH {
            return Err(ConnectionError::RequestTooLong);
        }
        let channel = self.last_channel.checked_add(1).ok_or(ConnectionError::TooManyChannels)?;
        if self.channels.len() >= MAX_CHANNELS {
            return Err(ConnectionError::TooManyChannels);
        }
        self.last_channel = channel;
        self.channels.insert(channel, ChannelState::default());
        let mut rest = request;
        while let Some((part, more)) = rest.split_at_checked(MAX_PAYLOAD).filter(|(_, more)| !more.is_empty())
        {
            self.push(channel, Kind::OpenPart, part);
            rest = more;
        }
        self.push(channel, Kind::Open, rest);
        Ok(channel)
    }

    /// The next request. Guest only.
    pub fn accept(&mut self) -> Option<(u32, Vec<u8>)> {
        let (channel, request) = self.opened.pop_front()?;
        self.opened_bytes -= request.len() + 64;
        self.reader_waker.take().into_iter().for_each(Waker::wake);
        Some((channel, request))
    }

    pub(super) fn wait_accept(&mut self, waker: &Waker) {
        self.accept_waker = Some(waker.clone());
    }

    /// The other side's hello, once it came.
    pub fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref()
    }

    pub(super) fn wait_peer(&mut self, waker: &Waker) {
        self.peer_wakers.push(waker.clone());
    }

    /// Whether more should be read from the wire now.
    pub(super) fn wants_bytes(&mut self, waker: &Waker) -> bool {
        let wants = self.opened_bytes <= OPENED_LIMIT;
        if !wants {
            self.reader_waker = Some(waker.clone());
        }
        wants
    }

    /// The error that ended the connection, if it is over.
    pub(super) fn alive(&self) -> Result<(), ConnectionError> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    pub(super) fn has_room(&self) -> bool {
        self.outgoing.len() < OUTGOING_LIMIT
    }

    pub(super) fn push(&mut self, channel: u32, kind: Kind, payload: &[u8]) {
        if self.ended.is_some() {
            return;
        }
        Frame { channel, kind, payload }.encode(&mut self.outgoing);
        self.wake_writer();
    }

    /// There is something to send.
    pub(super) fn wake_writer(&mut self) {
        self.writer_waker.take().into_iter().for_each(Waker::wake);
    }

    /// Takes what is to be sent, giving `empty` to collect what comes next. `None` where there is nothing.
    pub fn take_outgoing(&mut self, empty: Vec<u8>) -> Option<Vec<u8>> {
        if self.outgoing.is_empty() {
            if self.channels.is_empty() {
                // An idle connection keeps no buffer.
                self.outgoing = Vec::new();
            }
            return None;
        }
        self.generation += 1;
        self.room_wakers.drain(..).for_each(Waker::wake);
        self.turn_wakers.drain(..).for_each(Waker::wake);
        Some(std::mem::replace(&mut self.outgoing, empty))
    }

    /// Waits for something to send; `true` where nothing will come any more.
    pub(super) fn wait_outgoing(&mut self, waker: &Waker) -> bool {
        self.writer_waker = Some(waker.clone());
        self.finishing || self.ended.is_some()
    }

    /// Nobody holds this side any more: what is queued is still sent.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
        self.writer_waker.take().into_iter().for_each(Waker::wake);
    }

    /// The connection is over: everybody who waits is told.
    pub fn end(&mut self, error: ConnectionError) {
        self.ended.get_or_insert(error);
        self.outgoing = Vec::new();
        self.assembling = None;
        self.channels.values_mut().for_each(ChannelState::wake_all);
        let single = [self.reader_waker.take(), self.writer_waker.take(), self.accept_waker.take()];
        single.into_iter().flatten().for_each(Waker::wake);
        for wakers in [&mut self.peer_wakers, &mut self.room_wakers, &mut self.turn_wakers] {
            wakers.drain(..).for_each(Waker::wake);
        }
    }
}
