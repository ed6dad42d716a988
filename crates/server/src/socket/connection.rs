//! One WebSocket, as two halves that are used at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentkernel_api::{ClientMessage, ErrorCode, ServerMessage};
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::request::Parts;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::answer::Refusal;

/// The largest message that is taken.
const MESSAGE_BYTES: usize = 1 << 20;
/// What may wait for a slow reader; a sender waits before that.
const WAITING_BYTES: usize = 4 << 20;
/// How often a peer is asked whether it lives.
const PING: Duration = Duration::from_secs(20);
/// How long a peer that lives may be silent.
const SILENCE: Duration = Duration::from_secs(65);
/// How long a peer has to say its last word after ours.
const FAREWELL: Duration = Duration::from_secs(5);

/// A request that wants to be a WebSocket; any other is refused.
pub(crate) struct Upgrade(pub(crate) WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match WebSocketUpgrade::from_request_parts(parts, state).await {
            Ok(upgrade) => Ok(Self(
                upgrade
                    .max_message_size(MESSAGE_BYTES)
                    .max_frame_size(MESSAGE_BYTES)
                    .max_write_buffer_size(WAITING_BYTES),
            )),
            Err(error) => Err(Refusal::invalid(format!(
                "this route is a WebSocket: {}",
                error.body_text().to_lowercase()
            ))),
        }
    }
}

/// The connection is gone or broke the rules; there is nobody left to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// Where a message of the peer leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// JSON.
    Said(ClientMessage),
    /// Bytes.
    Bytes(Bytes),
}

/// When the peer was last heard of.
pub(crate) struct Heard {
    since: Instant,
    last_ms: AtomicU64,
}

impl Heard {
    /// Just now, for the first time.
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn now(&self) {
        self.last_ms.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

/// Both halves, with what they share.
pub(crate) fn split(socket: WebSocket, heard: &Heard) -> (Speaker, Listener<'_>) {
    let (sink, stream) = socket.split();
    let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    (Speaker { sink, ping }, Listener { stream, heard })
}

/// The half that speaks.
pub(crate) struct Speaker {
    sink: SplitSink<WebSocket, Message>,
    ping: Interval,
}

impl Speaker {
    /// Waits until it is time to ask whether the peer lives, and asks. An error if it has been silent for too long.
    pub(crate) async fn keep_alive(&mut self, heard: &Heard) -> Result<(), Gone> {
        self.ping.tick().await;
        if heard.silence() > SILENCE {
            return Err(Gone);
        }
        self.send(Message::Ping(Bytes::new())).await
    }

    /// Says something; waits for a peer that reads slowly.
    pub(crate) async fn say(&mut self, message: &ServerMessage) -> Result<(), Gone> {
        let text = serde_json::to_string(message).map_err(|error| {
            tracing::error!(%error, "a message could not be written as JSON");
            Gone
        })?;
        self.send(Message::Text(text.into())).await
    }

    /// Sends output: 1 is standard output, 2 standard error.
    pub(crate) async fn output(&mut self, stream: u8, bytes: &[u8]) -> Result<(), Gone> {
        let mut message = BytesMut::with_capacity(bytes.len() + 1);
        message.put_u8(stream);
        message.put_slice(bytes);
        self.send(Message::Binary(message.freeze())).await
    }

    /// Sends bytes as they are.
    pub(crate) async fn bytes(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.send(Message::Binary(bytes)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        self.sink.send(message).await.map_err(|_| Gone)
    }

    /// Says why, and that this is all.
    pub(crate) async fn fail(self, listener: Listener<'_>, refusal: &Refusal) {
        let message = ServerMessage::Error { message: refusal.message.clone(), code: refusal.code };
        let code = match refusal.code {
            ErrorCode::Invalid | ErrorCode::InvalidJson => close_code::POLICY,
            ErrorCode::ShuttingDown => close_code::AWAY,
            code if code.status() < 500 => close_code::POLICY,
            _ => close_code::ERROR,
        };
        self.finish(listener, Some(&message), code).await;
    }

    /// The last word, if any, and the connection's orderly end: waits a little for the peer to have heard it.
    pub(crate) async fn finish(
        mut self,
        mut listener: Listener<'_>,
        last: Option<&ServerMessage>,
        code: u16,
    ) {
        let farewell = async {
            if let Some(last) = last {
                self.say(last).await?;
            }
            self.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await?;
            while listener.stream.next().await.is_some_and(|message| message.is_ok()) {}
            Ok::<_, Gone>(())
        };
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
            tracing::debug!("a WebSocket's peer went without a farewell");
        }
    }
}

/// The half that listens.
pub(crate) struct Listener<'a> {
    stream: SplitStream<WebSocket>,
    heard: &'a Heard,
}

impl Listener<'_> {
    /// What the peer says next; an error within it is what is wrong with it. `Gone` at the end.
    pub(crate) async fn next(&mut self) -> Result<Result<Incoming, Refusal>, Gone> {
        loop {
            let Some(Ok(message)) = self.stream.next().await else { return Err(Gone) };
            self.heard.now();
            return Ok(match message {
                Message::Text(text) => parse(&text).map(Incoming::Said),
                Message::Binary(bytes) => Ok(Incoming::Bytes(bytes)),
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(_) => return Err(Gone),
            });
        }
    }
}

fn parse(text: &str) -> Result<ClientMessage, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::invalid(format!("not a message: {error}")))
}

/// A refusal of what the peer said out of turn.
pub(crate) fn unexpected(what: &str) -> Refusal {
    Refusal::new(ErrorCode::Invalid, format!("unexpected message: {what}"))
}
