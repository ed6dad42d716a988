//! `application/vnd.agentkernel.frames`: a command's output for programs. One byte says what follows, three are zero,
//! four are the length (big-endian), then the content. Output is passed on as it is, without a copy.

use agentkernel_api::{ErrorBody, ExecutionInfo, RunResult};
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.agentkernel.frames";

/// Bytes before a frame's content.
const HEADER_BYTES: usize = 8;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// A [`RunResult`], or of a log an [`ExecutionInfo`]; the last frame.
    End = 3,
    /// An [`ErrorBody`]; the last frame.
    Error = 4,
}

/// What goes before `length` bytes.
pub(crate) fn header(kind: Kind, length: u32) -> Bytes {
    let mut header = BytesMut::with_capacity(HEADER_BYTES);
    header.put_u8(kind as u8);
    header.put_bytes(0, 3);
    header.put_u32(length);
    header.freeze()
}

/// Header and content of output, apart, so that the content needs no copy.
pub(crate) fn output(kind: Kind, content: Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = content;
    std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            let piece = rest.split_to(rest.len().min(u32::MAX as usize));
            [header(kind, piece.len() as u32), piece]
        })
    })
    .flatten()
}

/// The frame of a command's end.
pub(crate) fn end(result: &RunResult) -> Bytes {
    json(Kind::End, result)
}

/// The frame of a log's end.
pub(crate) fn execution(info: &ExecutionInfo) -> Bytes {
    json(Kind::End, info)
}

/// The frame of a command that could not be run.
pub(crate) fn error(body: &ErrorBody) -> Bytes {
    json(Kind::Error, body)
}

fn json<T: Serialize>(kind: Kind, value: &T) -> Bytes {
    let mut frame = header(kind, 0).to_vec();
    if let Err(error) = serde_json::to_writer(&mut frame, value) {
        tracing::error!(%error, "a frame could not be written as JSON");
    }
    let length = (frame.len() - HEADER_BYTES) as u32;
    frame[4..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use agentkernel_api::ErrorCode;

    use super::*;

    #[test]
    fn a_frame_says_what_it_is_and_how_long() {
        let frame: Vec<u8> = output(Kind::Stderr, Bytes::from_static(b"abc")).flatten().collect();
        assert_eq!(frame, b"\x02\0\0\0\0\0\0\x03abc");
        assert_eq!(output(Kind::Stdout, Bytes::new()).count(), 0);
    }

    #[test]
    fn an_error_is_json() {
        let frame = error(&ErrorBody::new(ErrorCode::Busy, "x"));
        assert_eq!(frame[0], 4);
        let length = u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
        assert_eq!(&frame[8..], br#"{"success":false,"error":"x","code":"busy"}"#);
        assert_eq!(length, frame.len() - 8);
    }
}
