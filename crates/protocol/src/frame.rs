//! Frames: the only thing on the wire. A header of nine bytes, then the payload.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0..4 | length of the payload, little-endian |
//! | 4..8 | channel, little-endian; 0 is the connection itself |
//! | 8 | kind |

/// Bytes before the payload.
pub const HEADER_LENGTH: usize = 9;

/// The longest payload of a frame.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// One of the byte streams of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Host to guest: standard input, a file's content, bytes for a port.
    Input,
    /// Guest to host: standard output, a terminal, a file's content, bytes from a port.
    Output,
    /// Guest to host: standard error.
    Error,
}

impl Stream {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Input, Self::Output, Self::Error];

    /// Its number on the wire.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The first frame each way, on channel 0: a [`crate::Hello`].
    Hello,
    /// Opens a channel: the last or only part of a [`crate::Request`]. Host to guest only.
    Open,
    /// An earlier part of a request that doesn't fit one frame. The parts of one request follow each other without
    /// those of another between them.
    OpenPart,
    /// A [`crate::Control`] or [`crate::Event`] on an open channel.
    Message,
    /// The sender has nothing more to say on the channel and wants nothing more from it.
    Close,
    /// Bytes of a stream.
    Data(Stream),
    /// The stream's proper end.
    End(Stream),
    /// The stream stops before it is complete.
    Abort(Stream),
    /// The reader grants so many bytes more (u32, little-endian).
    Credit(Stream),
    /// The reader doesn't want the rest of the stream.
    Stop(Stream),
}

impl Kind {
    /// Its number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Open => 2,
            Self::OpenPart => 3,
            Self::Message => 4,
            Self::Close => 5,
            Self::Data(stream) => 0x10 + stream.number(),
            Self::End(stream) => 0x20 + stream.number(),
            Self::Abort(stream) => 0x30 + stream.number(),
            Self::Credit(stream) => 0x40 + stream.number(),
            Self::Stop(stream) => 0x50 + stream.number(),
        }
    }

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        let stream = || Stream::ALL.get(usize::from(number & 0x0f)).copied();
        match number {
            1 => Some(Self::Hello),
            2 => Some(Self::Open),
            3 => Some(Self::OpenPart),
            4 => Some(Self::Message),
            5 => Some(Self::Close),
            0x10..=0x1f => stream().map(Self::Data),
            0x20..=0x2f => stream().map(Self::End),
            0x30..=0x3f => stream().map(Self::Abort),
            0x40..=0x4f => stream().map(Self::Credit),
            0x50..=0x5f => stream().map(Self::Stop),
            _ => None,
        }
    }
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header claims more than [`MAX_PAYLOAD`].
    #[error("a frame claims {length} bytes, more than {MAX_PAYLOAD}")]
    TooLong {
        /// What it claims.
        length: u32,
    },
    /// No kind has this number.
    #[error("a frame is of the unknown kind {number}")]
    UnknownKind {
        /// The number.
        number: u8,
    },
}

/// One frame, borrowed from the buffer it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// 0 is the connection itself.
    pub channel: u32,
    /// What it is.
    pub kind: Kind,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame of `bytes` and the number of bytes it takes; `None` where `bytes` end before it does. A wrong
    /// header is an error as soon as it is there, before its payload is.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LENGTH>() else { return Ok(None) };
        let [l0, l1, l2, l3, c0, c1, c2, c3, number] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if length as usize > MAX_PAYLOAD {
            return Err(FrameError::TooLong { length });
        }
        let kind = Kind::from_number(number).ok_or(FrameError::UnknownKind { number })?;
        let Some(payload) = rest.get(..length as usize) else { return Ok(None) };
        let channel = u32::from_le_bytes([c0, c1, c2, c3]);
        Ok(Some((Self { channel, kind, payload }, HEADER_LENGTH + payload.len())))
    }

    /// Appends the frame to `out`. The payload must not be longer than [`MAX_PAYLOAD`]; that is the caller's promise,
    /// and the other side cuts off who breaks it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(self.payload.len() <= MAX_PAYLOAD);
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.channel.to_le_bytes());
        out.push(self.kind.number());
        out.extend_from_slice(self.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_number_is_one_kind_or_none() {
        let known: Vec<Kind> = (0..=u8::MAX).filter_map(Kind::from_number).collect();
        assert_eq!(known.len(), 5 + 5 * 3);
        for kind in known {
            assert_eq!(Kind::from_number(kind.number()), Some(kind));
        }
    }

    #[test]
    fn wrong_headers_are_refused_before_their_payload_arrives() {
        let long = [1, 0, 1, 0, 0, 0, 0, 0, 4];
        assert_eq!(Frame::decode(&long), Err(FrameError::TooLong { length: 0x1_0001 }));
        let unknown = [0, 0, 0, 0, 0, 0, 0, 0, 99];
        assert_eq!(Frame::decode(&unknown), Err(FrameError::UnknownKind { number: 99 }));
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        any::<u8>().prop_filter_map("no kind", Kind::from_number)
    }

    proptest! {
        #[test]
        fn a_frame_survives_the_wire(channel: u32, kind in kinds(), payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let frame = Frame { channel, kind, payload: &payload };
            let mut wire = Vec::new();
            frame.encode(&mut wire);
            for cut in 0..wire.len() {
                prop_assert_eq!(Frame::decode(&wire[..cut]), Ok(None));
            }
            let length = wire.len();
            wire.extend_from_slice(b"next");
            prop_assert_eq!(Frame::decode(&wire), Ok(Some((frame, length))));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((frame, length))) = Frame::decode(&bytes) {
                prop_assert_eq!(length, HEADER_LENGTH + frame.payload.len());
            }
        }
    }
}
