//! Streams of events: those of one command, and those of the whole server.

use std::time::Duration;

use agentkernel_api::{Event, ImageInfo, StreamEvent};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::sse::{SseEvent, SseParser};
use crate::{ByteStream, Error, Refusal};

/// A server sends a comment each 15 seconds where it has nothing to say: three of them missing is no silence but an end.
const SILENCE: Duration = Duration::from_secs(45);

/// Server-sent events as they come.
#[derive(Debug)]
pub(crate) struct SseStream {
    bytes: ByteStream,
    parser: SseParser,
}

impl SseStream {
    pub(crate) fn new(bytes: ByteStream) -> Self {
        Self { bytes, parser: SseParser::default() }
    }

    /// The next event; `None` where the server closed the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<SseEvent>, Error> {
        loop {
            if let Some(event) = self.parser.next_event() {
                return Ok(Some(event));
            }
            let chunk = match timeout(SILENCE, self.bytes.next()).await {
                Ok(chunk) => chunk?,
                Err(_) => {
                    return Err(self.broken(format!("nothing came for {} s", SILENCE.as_secs())));
                }
            };
            match chunk {
                Some(chunk) => self.parser.push(&chunk).map_err(|error| self.broken(error.to_string()))?,
                None => return Ok(None),
            }
        }
    }

    pub(crate) fn broken(&self, problem: String) -> Error {
        Error::Stream { to: self.bytes.from().to_owned(), problem }
    }

    /// The data of an event as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, event: &SseEvent) -> Result<T, Error> {
        serde_json::from_str(&event.data)
            .map_err(|error| self.broken(format!("the data of an event `{}`: {error}", event.name)))
    }
}

/// The names of [`StreamEvent`]'s variants on the wire.
const OF_COMMANDS: [&str; 5] = ["started", "progress", "output", "done", "error"];

/// The events of one command. Dropping it ends the command.
#[derive(Debug)]
pub struct EventStream {
    events: SseStream,
    ended: bool,
}

impl EventStream {
    pub(crate) fn new(bytes: ByteStream) -> Self {
        Self { events: SseStream::new(bytes), ended: false }
    }

    /// The next event; `None` after [`StreamEvent::Done`] or [`StreamEvent::Error`]. An error where the stream ended
    /// without one of them. Events of a newer server that this version doesn't know are stepped over.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>, Error> {
        while !self.ended {
            let Some(event) = self.events.next().await? else {
                return Err(self.events.broken("it has neither `done` nor `error`".to_owned()));
            };
            if !OF_COMMANDS.contains(&event.name.as_str()) {
                continue;
            }
            let found = of_command(&self.events, &event)?;
            self.ended = matches!(found, StreamEvent::Done { .. } | StreamEvent::Error { .. });
            return Ok(Some(found));
        }
        Ok(None)
    }
}

/// The name is the variant, the data its fields.
pub(crate) fn of_command(events: &SseStream, event: &SseEvent) -> Result<StreamEvent, Error> {
    let fields: Value = events.json(event)?;
    let whole = Value::Object([(event.name.clone(), fields)].into_iter().collect());
    serde_json::from_value(whole)
        .map_err(|error| events.broken(format!("the fields of an event `{}`: {error}", event.name)))
}

/// The last event of an image that is fetched.
#[derive(Deserialize)]
struct Pulled {
    image: ImageInfo,
}

/// Follows the fetching of an image to its end.
pub(crate) async fn pulled(bytes: ByteStream, mut told: impl FnMut(&str)) -> Result<ImageInfo, Error> {
    let mut events = SseStream::new(bytes);
    while let Some(event) = events.next().await? {
        match event.name.as_str() {
            "progress" => {
                if let StreamEvent::Progress { detail: Some(detail), .. } = of_command(&events, &event)? {
                    told(&detail);
                }
            }
            "done" => return events.json::<Pulled>(&event).map(|pulled| pulled.image),
            "error" => return Err(failure(&events, &event)),
            _ => {}
        }
    }
    Err(events.broken("it has neither `done` nor `error`".to_owned()))
}

/// The error of an event `error`.
pub(crate) fn failure(events: &SseStream, event: &SseEvent) -> Error {
    match of_command(events, event) {
        Ok(StreamEvent::Error { message, code }) => {
            Error::of(Refusal { status: code.status(), code: Some(code), message, retry_after: None })
        }
        Ok(_) => events.broken("an error without its fields".to_owned()),
        Err(error) => error,
    }
}

/// What happens on the whole server. Open it again with [`crate::AgentKernel::events`] and the last id where it breaks.
#[derive(Debug)]
pub struct ServerEvents {
    events: SseStream,
}

impl ServerEvents {
    pub(crate) fn new(bytes: ByteStream) -> Self {
        Self { events: SseStream::new(bytes) }
    }

    /// The next event; `None` where the server closed the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        while let Some(event) = self.events.next().await? {
            // The kinds of a newer server are not an error of this client.
            let value: Value = self.events.json(&event)?;
            if let Ok(event) = serde_json::from_value(value) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}
