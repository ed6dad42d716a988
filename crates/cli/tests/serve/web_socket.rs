//! A WebSocket (RFC 6455) as frames that tests can also get wrong. Masked with zeros, which the protocol allows.

use std::io::Read;

use serde_json::Value;

use crate::connection::{Connection, Door, Head};

/// A message of the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Text(Value),
    Binary(Vec<u8>),
    Close(Option<u16>),
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

/// An open WebSocket.
pub(crate) struct WebSocket(Connection);

/// The request that asks for one.
pub(crate) fn handshake(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!(
        "GET {target} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// A frame's first bytes as a client sends them, however long the payload really is.
pub(crate) fn frame_head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..=125 => head.push(0x80 | length as u8),
        126..=0xffff => {
            head.push(0x80 | 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}

impl WebSocket {
    /// Opens one, or says what the server answered instead.
    pub(crate) fn open(door: &Door, target: &str, headers: &[(&str, &str)]) -> Result<Self, Head> {
        let mut connection = Connection::open(door);
        connection.send(&handshake(target, headers)).unwrap();
        let head = connection.head().unwrap();
        if head.status != 101 {
            return Err(head);
        }
        // What RFC 6455 section 1.3 says goes with the key above.
        assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Ok(Self(connection))
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.0
    }

    /// Sends a frame that is a whole message.
    pub(crate) fn frame(&mut self, kind: u8, payload: &[u8]) -> std::io::Result<()> {
        let mut bytes = frame_head(0x80 | kind, payload.len() as u64);
        bytes.extend_from_slice(payload);
        self.0.send(&bytes)
    }

    pub(crate) fn json(&mut self, message: &Value) {
        self.frame(TEXT, message.to_string().as_bytes()).unwrap();
    }

    /// Standard input.
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        self.frame(BINARY, &[&[0], bytes].concat()).unwrap();
    }

    /// The next message; pings are answered and left out. `None` where the connection has ended.
    pub(crate) fn next(&mut self) -> Option<Message> {
        loop {
            let (kind, payload) = self.next_frame().ok()?;
            match kind {
                TEXT => return Some(Message::Text(serde_json::from_slice(&payload).unwrap())),
                BINARY => return Some(Message::Binary(payload)),
                CLOSE => {
                    let code = payload.get(..2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
                    return Some(Message::Close(code));
                }
                PING => self.frame(10, &payload).ok()?,
                10 => {}
                other => panic!("a frame of kind {other}"),
            }
        }
    }

    /// Server messages are whole in one frame each.
    fn next_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let reader = self.0.reader();
        let mut head = [0; 2];
        reader.read_exact(&mut head)?;
        assert!(head[0] & 0x80 != 0 && head[1] & 0x80 == 0, "a fragment or a masked frame: {head:?}");
        let mut length = u64::from(head[1]);
        if length == 126 {
            let mut bytes = [0; 2];
            reader.read_exact(&mut bytes)?;
            length = u64::from(u16::from_be_bytes(bytes));
        } else if length == 127 {
            let mut bytes = [0; 8];
            reader.read_exact(&mut bytes)?;
            length = u64::from_be_bytes(bytes);
        }
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        reader.read_exact(&mut payload)?;
        Ok((head[0] & 0x0f, payload))
    }

    /// Reads until standard output has shown `word`; returns all of it.
    #[track_caller]
    pub(crate) fn read_until(&mut self, word: &str) -> String {
        let mut text = String::new();
        while !text.contains(word) {
            match self.next() {
                Some(Message::Binary(bytes)) => text.push_str(&String::from_utf8_lossy(&bytes[1..])),
                Some(Message::Text(value)) if value["type"] != "exit" && value["type"] != "error" => {}
                other => panic!("{other:?} instead of {word:?}, after {text:?}"),
            }
        }
        text
    }

    /// Reads to the command's end: its `exit` message and all output by stream.
    #[track_caller]
    pub(crate) fn read_to_exit(&mut self) -> (Value, Vec<u8>, Vec<u8>) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self.next() {
                Some(Message::Binary(bytes)) if bytes[0] == 1 => stdout.extend_from_slice(&bytes[1..]),
                Some(Message::Binary(bytes)) if bytes[0] == 2 => stderr.extend_from_slice(&bytes[1..]),
                Some(Message::Text(value)) if value["type"] == "exit" => return (value, stdout, stderr),
                Some(Message::Text(value)) if value["type"] == "started" || value["type"] == "attached" => {}
                other => panic!("{other:?}, after {:?}", String::from_utf8_lossy(&stdout)),
            }
        }
    }
}
