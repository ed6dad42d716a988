//! A box from the daemon to a command of the same user: one HTTP request on the daemon's socket that is upgraded, and then
//! one message with the box's descriptors (unix(7), SCM_RIGHTS).
//!
//! | after the answer's head | |
//! |---|---|
//! | 4 bytes, with them all descriptors | the length of the rest, big-endian |
//! | the rest | JSON: `backend`, `state`, `descriptors` (how many) |

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use agentkernel_backend::{EphemeralBox, HandOver};
use agentkernel_model::{BackendName, SandboxSpec};
use agentkernel_sys::descriptor_channel as channel;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::{Pool, TransitError};

/// Where a box is asked for.
pub const PATH: &str = "/pool/take";

/// What the connection is upgraded to.
pub const UPGRADE: &str = "agentkernel-box";

/// The longest head of an answer.
const LONGEST_HEAD: usize = 16 << 10;

/// The longest description of a box.
const LONGEST_MESSAGE: usize = 256 << 10;

/// What a command asks with: the body of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeRequest {
    /// The box that it needs, exactly.
    pub spec: SandboxSpec,
    /// What its own backend says of itself: [`agentkernel_backend::Backend::variant`].
    pub variant: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    backend: BackendName,
    state: serde_json::Value,
    descriptors: usize,
}

impl Pool {
    /// Gives `made` to whoever is at the other end of `socket`, a unix stream that doesn't block. Where that fails the box
    /// is ended.
    pub async fn give_away(&self, made: Box<dyn EphemeralBox>, socket: OwnedFd) -> Result<(), TransitError> {
        let handed = match made.hand_over().await {
            Ok(handed) => handed,
            Err(made) => {
                // Buried now, not from within a burial: the pool's end waits for those that are under way.
                made.destroy().await.ok();
                return Err(TransitError::NotMovable);
            }
        };
        let backend = handed.backend.clone();
        let Err((handed, error)) = send(handed, socket).await else { return Ok(()) };
        if let Some(handed) = handed
            && let Some(lane) = self.lane_of(&backend)
        {
            // Nobody has it yet: it is ours again, to be ended in order.
            match lane.backend.take_over(handed).await {
                Ok(made) => self.inner.burials.add(made),
                Err(error) => tracing::debug!(%error, "a box that nobody took is left to recovery"),
            }
        }
        Err(error)
    }
}

/// Sends `handed`; with the error the box again, as long as nobody can have got it.
async fn send(handed: HandOver, socket: OwnedFd) -> Result<(), (Option<HandOver>, TransitError)> {
    let failed = |source| TransitError::Socket { action: "send a sandbox", source };
    let HandOver { backend, state, descriptors } = handed;
    let message = Message { backend, state, descriptors: descriptors.len() };
    let encoded = serde_json::to_vec(&message).map_err(io::Error::from);
    let socket = UnixStream::from_std(socket.into());
    let (body, socket) = match (encoded, socket) {
        (Ok(body), Ok(socket)) => (body, socket),
        (Err(source), _) | (_, Err(source)) => {
            let Message { backend, state, .. } = message;
            return Err((Some(HandOver { backend, state, descriptors }), failed(source)));
        }
    };
    let mut bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    let mut sent = 0;
    while sent < bytes.len() {
        let with: &[OwnedFd] = if sent == 0 { &descriptors } else { &[] };
        let some = socket.async_io(Interest::WRITABLE, || channel::send(&socket, &bytes[sent..], with));
        match some.await {
            Ok(count) => sent += count,
            Err(source) if sent == 0 => {
                let Message { backend, state, .. } = message;
                return Err((Some(HandOver { backend, state, descriptors }), failed(source)));
            }
            Err(source) => return Err((None, failed(source))),
        }
    }
    Ok(())
}

/// Asks the daemon that listens on `socket` for a box; `None` where it has none that fits. The caller sets a deadline.
pub async fn ask(socket: &Path, request: &TakeRequest) -> Result<Option<HandOver>, TransitError> {
    let step = |action| move |source| TransitError::Socket { action, source };
    let mut stream = UnixStream::connect(socket).await.map_err(step("reach the daemon"))?;
    let owner = stream.peer_cred().map_err(step("see whose the daemon is"))?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(TransitError::Stranger { uid: owner });
    }
    let body = serde_json::to_vec(request).map_err(|error| step("write a request")(error.into()))?;
    let mut bytes = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    stream.write_all(&bytes).await.map_err(step("ask the daemon"))?;
    let mut reader = Reader { stream, bytes: Vec::new(), descriptors: Vec::new() };
    match reader.status().await? {
        101 => reader.message().await.map(Some),
        204 => Ok(None),
        status => Err(TransitError::Refused { status }),
    }
}

/// Reads bytes with the descriptors that come along: what else reads from the socket would lose them.
struct Reader {
    stream: UnixStream,
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

fn strange(what: impl Into<String>) -> TransitError {
    TransitError::Strange { what: what.into() }
}

impl Reader {
    async fn more(&mut self) -> Result<(), TransitError> {
        let mut buffer = [0; 4096];
        let (stream, descriptors) = (&self.stream, &mut self.descriptors);
        let read = stream
            .async_io(Interest::READABLE, || channel::receive(stream, &mut buffer, descriptors))
            .await
            .map_err(|source| TransitError::Socket { action: "hear the daemon", source })?;
        if read == 0 {
            return Err(strange("it hung up"));
        }
        self.bytes.extend_from_slice(&buffer[..read]);
        Ok(())
    }

    /// Reads the head of the answer away; its status.
    async fn status(&mut self) -> Result<u16, TransitError> {
        let end = loop {
            if let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if self.bytes.len() > LONGEST_HEAD {
                return Err(strange("its head doesn't end"));
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes.drain(..end + 4);
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        status.ok_or_else(|| strange("not with HTTP"))
    }

    async fn message(mut self) -> Result<HandOver, TransitError> {
        while self.bytes.len() < 4 {
            self.more().await?;
        }
        let (head, _) = self.bytes.split_at(4);
        let length = head.iter().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
        if length > LONGEST_MESSAGE {
            return Err(strange(format!("a description of {length} bytes")));
        }
        while self.bytes.len() < 4 + length {
            self.more().await?;
        }
        if self.bytes.len() > 4 + length {
            return Err(strange("with more than a sandbox"));
        }
        let message: Message =
            serde_json::from_slice(&self.bytes[4..]).map_err(|error| strange(error.to_string()))?;
        if message.descriptors != self.descriptors.len() {
            return Err(strange("descriptors got lost"));
        }
        let Message { backend, state, .. } = message;
        Ok(HandOver { backend, state, descriptors: self.descriptors })
    }
}
