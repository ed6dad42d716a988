//! Frames: a command's output byte for byte, without an encoding. One byte says the kind (1 stdout, 2 stderr, 3 the
//! result as JSON, 4 an error as JSON), three are zero, four are the payload's length, most significant first.

use std::collections::VecDeque;

use agentkernel_api::{ErrorBody, RunResult};
use bytes::Bytes;

use crate::{ByteStream, Error, Refusal};

const HEADER_BYTES: usize = 8;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const END: u8 = 3;
const ERROR: u8 = 4;
/// The most bytes of a result or an error. Output has no such end: it is passed on as it comes.
const MAX_JSON_BYTES: usize = 16 << 20;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of standard output. Where they are cut means nothing.
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// The command has ended, and all of its output was said. `stdout`, `stderr` and `output` of the result are empty.
    End(Box<RunResult>),
}

/// A command's output as it comes. Dropping it ends the command.
#[derive(Debug)]
pub struct FrameStream {
    bytes: ByteStream,
    decoder: Decoder,
    ready: VecDeque<Piece>,
    ended: bool,
}

impl FrameStream {
    pub(crate) fn new(bytes: ByteStream) -> Self {
        Self { bytes, decoder: Decoder::default(), ready: VecDeque::new(), ended: false }
    }

    /// The next piece; `None` after [`Frame::End`]. An error where the command could not be run, or the connection
    /// broke before its end.
    pub async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if let Some(piece) = self.ready.pop_front() {
                return self.take(piece).map(Some);
            }
            match self.bytes.next().await? {
                Some(chunk) => {
                    self.decoder.push(chunk, &mut self.ready).map_err(|problem| self.broken(problem))?;
                }
                None => return Err(self.broken("it has no last frame".to_owned())),
            }
        }
    }

    fn take(&mut self, piece: Piece) -> Result<Frame, Error> {
        match piece {
            Piece::Stdout(bytes) => Ok(Frame::Stdout(bytes)),
            Piece::Stderr(bytes) => Ok(Frame::Stderr(bytes)),
            Piece::End(json) => {
                self.ended = true;
                let result = serde_json::from_slice(&json);
                result.map(Frame::End).map_err(|error| self.broken(format!("its result: {error}")))
            }
            Piece::Error(json) => {
                self.ended = true;
                let body: ErrorBody = serde_json::from_slice(&json)
                    .map_err(|error| self.broken(format!("its error: {error}")))?;
                Err(Error::of(Refusal {
                    status: body.code.status(),
                    code: Some(body.code),
                    message: body.error,
                    retry_after: None,
                }))
            }
        }
    }

    fn broken(&self, problem: String) -> Error {
        Error::Stream { to: self.bytes.from().to_owned(), problem }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Stdout(Bytes),
    Stderr(Bytes),
    End(Vec<u8>),
    Error(Vec<u8>),
}

/// Where in the stream of frames it is. Output is sliced out of what came, not copied.
#[derive(Debug, Default)]
struct Decoder {
    header: Vec<u8>,
    /// The kind of the frame whose payload comes, and how much of it is missing.
    payload: Option<(u8, usize)>,
    json: Vec<u8>,
}

impl Decoder {
    fn push(&mut self, mut bytes: Bytes, ready: &mut VecDeque<Piece>) -> Result<(), String> {
        while !bytes.is_empty() {
            let Some((kind, missing)) = self.payload else {
                let part = bytes.split_to(bytes.len().min(HEADER_BYTES - self.header.len()));
                self.header.extend_from_slice(&part);
                if self.header.len() == HEADER_BYTES {
                    let payload = header(&self.header)?;
                    self.header.clear();
                    self.json.clear();
                    self.payload = Some(payload);
                    self.end_of_payload(ready);
                }
                continue;
            };
            let part = bytes.split_to(bytes.len().min(missing));
            self.payload = Some((kind, missing - part.len()));
            match kind {
                STDOUT => ready.push_back(Piece::Stdout(part)),
                STDERR => ready.push_back(Piece::Stderr(part)),
                _ => self.json.extend_from_slice(&part),
            }
            self.end_of_payload(ready);
        }
        Ok(())
    }

    fn end_of_payload(&mut self, ready: &mut VecDeque<Piece>) {
        if let Some((kind, 0)) = self.payload {
            self.payload = None;
            match kind {
                END => ready.push_back(Piece::End(std::mem::take(&mut self.json))),
                ERROR => ready.push_back(Piece::Error(std::mem::take(&mut self.json))),
                _ => {}
            }
        }
    }
}

fn header(bytes: &[u8]) -> Result<(u8, usize), String> {
    let [kind @ STDOUT..=ERROR, 0, 0, 0, a, b, c, d] = *bytes else {
        return Err(format!("{bytes:02x?} is no header of a frame"));
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if kind >= END && length > MAX_JSON_BYTES {
        return Err(format!("a result of {length} bytes"));
    }
    Ok((kind, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut all = Vec::new();
        for (kind, payload) in frames {
            all.extend([*kind, 0, 0, 0]);
            all.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
            all.extend(payload);
        }
        all
    }

    /// stdout and stderr, each joined, and the ends and errors.
    type Read = (Vec<u8>, Vec<u8>, Vec<Piece>);

    fn read(pieces: &[&[u8]]) -> Result<Read, String> {
        let (mut decoder, mut ready) = (Decoder::default(), VecDeque::new());
        for piece in pieces {
            decoder.push(Bytes::copy_from_slice(piece), &mut ready)?;
        }
        let (mut out, mut err, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for piece in ready {
            match piece {
                Piece::Stdout(bytes) => out.extend(bytes),
                Piece::Stderr(bytes) => err.extend(bytes),
                other => last.push(other),
            }
        }
        Ok((out, err, last))
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [[0, 0, 0, 0, 0, 0, 0, 1], [5, 0, 0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0, 0, 0]] {
            assert!(read(&[&bytes]).is_err(), "{bytes:?}");
        }
        assert!(read(&[&[3, 0, 0, 0, 255, 255, 255, 255]]).is_err(), "a result of 4 GiB");
    }

    proptest! {
        #[test]
        fn where_it_is_split_makes_no_difference(
            frames in proptest::collection::vec((1..=4_u8, proptest::collection::vec(any::<u8>(), 0..20)), 0..12),
            size in 1..40_usize,
        ) {
            let all = written(&frames);
            let joined = |kind: u8| -> Vec<u8> {
                frames.iter().filter(|frame| frame.0 == kind).flat_map(|frame| frame.1.clone()).collect()
            };
            let last: Vec<Piece> = frames
                .iter()
                .filter_map(|(kind, payload)| match *kind {
                    END => Some(Piece::End(payload.clone())),
                    ERROR => Some(Piece::Error(payload.clone())),
                    _ => None,
                })
                .collect();
            let pieces: Vec<&[u8]> = all.chunks(size).collect();
            prop_assert_eq!(read(&pieces).unwrap(), (joined(1), joined(2), last));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if read(&[&bytes]).is_err() {
                prop_assert!(!bytes.is_empty());
            }
        }
    }
}
