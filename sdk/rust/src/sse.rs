//! Server-sent events, parsed as they arrive (the "event stream interpretation" of the HTML standard, section 9.2).

use std::collections::VecDeque;

/// The most bytes of one event; a server that sends more is broken.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Its name; `message` where the server named none.
    pub name: String,
    /// Its data; several lines are joined by line feeds.
    pub data: String,
    /// The last id that the server sent up to here.
    pub id: Option<String>,
}

/// An event without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one event is larger than {most} bytes")]
pub struct TooLong {
    /// The limit.
    pub most: usize,
}

/// Takes bytes in pieces of any size and gives events. It holds no more than one event and what was parsed already.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed right behind it belongs to it.
    after_return: bool,
    /// Whether the first line was read: only that can begin with a byte order mark.
    begun: bool,
    name: String,
    data: String,
    has_data: bool,
    id: Option<String>,
    ready: VecDeque<SseEvent>,
}

impl SseParser {
    /// Reads on.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + self.data.len() + part.len() > MAX_EVENT_BYTES {
                return Err(TooLong { most: MAX_EVENT_BYTES });
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.after_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.take(&String::from_utf8_lossy(&line));
        }
        Ok(())
    }

    /// The next event that is whole.
    pub fn next_event(&mut self) -> Option<SseEvent> {
        self.ready.pop_front()
    }

    fn take(&mut self, line: &str) {
        let line = if self.begun { line } else { line.strip_prefix('\u{feff}').unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            self.dispatch();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments (an empty name), `retry`, and what is not known.
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            let name = if name.is_empty() { "message".to_owned() } else { name };
            self.ready.push_back(SseEvent { name, data, id: self.id.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<SseEvent> {
        let mut parser = SseParser::default();
        for piece in pieces {
            parser.push(piece).unwrap();
        }
        std::iter::from_fn(|| parser.next_event()).collect()
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> SseEvent {
        SseEvent { name: name.to_owned(), data: data.to_owned(), id: id.map(str::to_owned) }
    }

    #[test]
    fn the_standard_is_kept() {
        let stream = "\u{feff}event: output\ndata: {\"a\":1}\n\n: keep-alive\n\ndata\n\ndata: x\r\ndata:  y\rid: 7\n\n\
            event: lost\n\nretry: 5\nunknown: z\ndata: last\n\ndata: unfinished\n";
        assert_eq!(
            all(&[stream.as_bytes()]),
            [
                event("output", "{\"a\":1}", None),
                event("message", "", None),
                event("message", "x\n y", Some("7")),
                event("message", "last", Some("7")),
            ]
        );
    }

    #[test]
    fn an_event_without_end_is_an_error() {
        let mut parser = SseParser::default();
        parser.push(b"data: ").unwrap();
        let piece = vec![b'x'; 1 << 20];
        let failed = (0..20).find_map(|_| parser.push(&piece).err());
        assert_eq!(failed, Some(TooLong { most: MAX_EVENT_BYTES }));
        let mut parser = SseParser::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        assert!((0..20).any(|_| parser.push(&line).is_err()), "many lines of one event count together");
    }

    fn field() -> impl Strategy<Value = String> {
        prop_oneof![
            "data: ?\\PC{0,12}",
            "event: ?[a-z]{0,6}",
            "id: ?[0-9]{0,4}",
            ":\\PC{0,8}",
            Just(String::new()),
            "\\PC{0,8}",
        ]
    }

    proptest! {
        #[test]
        fn where_it_is_split_makes_no_difference(
            lines in proptest::collection::vec((field(), prop_oneof![Just("\n"), Just("\r"), Just("\r\n")]), 0..30),
            cuts in proptest::collection::vec(0.0..1.0_f64, 0..20),
        ) {
            let text: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
            let bytes = text.as_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| (cut * bytes.len() as f64) as usize).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(all(&pieces), all(&[bytes]));
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(all(&each), all(&[bytes]));
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            all(&[&bytes]);
        }

        #[test]
        fn what_a_server_writes_is_read_again(name in "[a-z_]{1,10}", data in "[^\r\n\u{feff}\u{0}]{0,40}", id in 0..u64::MAX) {
            let text = format!("id: {id}\nevent: {name}\ndata: {data}\n\n");
            prop_assert_eq!(all(&[text.as_bytes()]), [event(&name, &data, Some(&id.to_string()))]);
        }
    }
}
