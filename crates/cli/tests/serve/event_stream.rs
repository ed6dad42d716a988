//! What streamed answers are made of: server-sent events and frames.

use std::io::{BufRead, BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

/// One server-sent event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

/// Server-sent events of a body, comments left out. Ends with the body, also where it breaks off.
pub(crate) struct Events<R>(BufReader<R>);

impl<R: Read> Events<R> {
    pub(crate) fn new(body: R) -> Self {
        Self(BufReader::new(body))
    }
}

impl<R: Read> Iterator for Events<R> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (mut kind, mut id, mut data) = (String::new(), None, String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            match line.split_once(": ").or_else(|| line.split_once(':')) {
                Some(("event", value)) => kind = value.to_owned(),
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => data.push_str(value),
                None if line.is_empty() && !(kind.is_empty() && data.is_empty()) => {
                    let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
                    return Some(Event { kind, id, data });
                }
                _ => {}
            }
        }
    }
}

/// The bytes of an `output` event.
pub(crate) fn output_bytes(data: &Value) -> Vec<u8> {
    let text = data["data"].as_str().unwrap_or_else(|| panic!("no data in {data}"));
    match data["encoding"].as_str() {
        Some("base64") => BASE64.decode(text).unwrap(),
        _ => text.as_bytes().to_vec(),
    }
}

/// What a frame is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Stdout,
    Stderr,
    End,
    Error,
}

/// One frame: kind, three zero bytes, the payload's length, the payload.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) payload: Vec<u8>,
}

/// The next frame; `None` at the end.
pub(crate) fn next_frame(body: &mut impl Read) -> Option<Frame> {
    let mut header = [0; 8];
    body.read_exact(&mut header).ok()?;
    let kind = match header[0] {
        1 => FrameKind::Stdout,
        2 => FrameKind::Stderr,
        3 => FrameKind::End,
        4 => FrameKind::Error,
        other => panic!("a frame of kind {other}"),
    };
    assert_eq!(header[1..4], [0, 0, 0]);
    let mut payload = vec![0; u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize];
    body.read_exact(&mut payload).unwrap();
    Some(Frame { kind, payload })
}
