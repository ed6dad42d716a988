//! What is said on a stream before the protocol proper, where the backend can't hand the agent what it needs in any other
//! way: the agent says whether it still has to be set up, the host sends what to do, the agent answers how that went.
//!
//! The first stream ever comes before any command runs, so nothing in the box can have sent the set-up.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The agent serves already.
pub(crate) const READY: u8 = b'R';
/// The agent waits for its set-up.
const NEEDS_SETUP: u8 = b'S';
/// The set-up failed: a length and a text follow, and then the agent ends.
const FAILED: u8 = b'F';

/// The most bytes of one part of a set-up.
pub(crate) const MAX_PART: usize = 1 << 20;

/// The most bytes of a reason.
const MAX_REASON: usize = 1024;

/// What the agent does to itself before it serves. Either part may be empty: there is nothing to do then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// One datagram for a netfilter netlink socket, whose first answer must be an acknowledgement.
    pub network_filter: Vec<u8>,
    /// A classic BPF program for seccomp(2): instructions of 8 bytes as the kernel lays them out.
    pub system_call_filter: Vec<u8>,
}

/// Why a stream can't be used.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The stream ended or failed.
    #[error("the agent's stream ended before it was ready: {source}")]
    Stream {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// The agent could not do what it was told to.
    #[error("the agent could not set itself up: {reason}")]
    Refused {
        /// The agent's own words, cleaned of what could fool a terminal.
        reason: String,
    },
    /// The other side doesn't keep to this.
    #[error("the other side said {byte:#04x} where its state was expected")]
    Unknown {
        /// What it said.
        byte: u8,
    },
}

/// The host's side: whether the agent waits for its set-up, to be sent with [`send_setup`]; else it serves.
pub async fn needs_setup<S: AsyncRead + Unpin>(stream: &mut S) -> Result<bool, GateError> {
    match state(stream).await? {
        READY => Ok(false),
        NEEDS_SETUP => Ok(true),
        byte => Err(GateError::Unknown { byte }),
    }
}

/// What the agent says of itself, a failure apart.
pub(crate) async fn state<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u8, GateError> {
    match stream.read_u8().await? {
        FAILED => Err(reason(stream).await?),
        byte => Ok(byte),
    }
}

/// The host's side: returns once the agent serves on `stream`.
pub async fn send_setup<S>(stream: &mut S, setup: &Setup) -> Result<(), GateError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Setup { network_filter, system_call_filter } = setup;
    let mut message = Vec::with_capacity(8 + network_filter.len() + system_call_filter.len());
    for part in [network_filter, system_call_filter] {
        write_part(part, &mut message)?;
    }
    stream.write_all(&message).await?;
    stream.flush().await?;
    match needs_setup(stream).await? {
        false => Ok(()),
        true => Err(GateError::Unknown { byte: NEEDS_SETUP }),
    }
}

async fn reason<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<GateError> {
    let length = usize::from(stream.read_u16_le().await?).min(MAX_REASON);
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    let reason = String::from_utf8_lossy(&text).chars().filter(|letter| !letter.is_control()).collect();
    Ok(GateError::Refused { reason })
}

/// The agent's side, where it serves already.
pub async fn say_ready<S: AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(&[READY]).await?;
    stream.flush().await
}

/// The agent's side, where it can't be used.
pub async fn say_failed<S: AsyncWrite + Unpin>(stream: &mut S, reason: &str) -> io::Result<()> {
    let end = (0..=reason.len().min(MAX_REASON)).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    let text = &reason.as_bytes()[..end];
    let length = u16::try_from(text.len()).unwrap_or(0);
    let message = [&[FAILED], &length.to_le_bytes()[..], text].concat();
    stream.write_all(&message).await?;
    stream.flush().await
}

/// The agent's side, where it waits: what the host wants done. To be answered by [`say_ready`] or [`say_failed`].
pub async fn ask_setup<S>(stream: &mut S) -> io::Result<Setup>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&[NEEDS_SETUP]).await?;
    stream.flush().await?;
    Ok(Setup { network_filter: part(stream).await?, system_call_filter: part(stream).await? })
}

/// Appends a part of a set-up to `message`.
pub(crate) fn write_part(part: &[u8], message: &mut Vec<u8>) -> io::Result<()> {
    let length = u32::try_from(part.len()).ok().filter(|_| part.len() <= MAX_PART);
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a part of the set-up is too long");
    message.extend(length.ok_or_else(too_long)?.to_le_bytes());
    message.extend(part);
    Ok(())
}

pub(crate) async fn part<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let length = stream.read_u32_le().await? as usize;
    if length > MAX_PART {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a part of the set-up is too long"));
    }
    let mut bytes = Vec::new();
    // By what arrives, not by what is claimed.
    AsyncReadExt::take(stream, length as u64).read_to_end(&mut bytes).await?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup { network_filter: vec![1, 2, 3], system_call_filter: Vec::new() }
    }

    #[tokio::test]
    async fn a_set_up_arrives_whole_and_is_answered() {
        let (mut host, mut agent) = tokio::io::duplex(64);
        let agent = async {
            let got = ask_setup(&mut agent).await.unwrap();
            say_ready(&mut agent).await.unwrap();
            got
        };
        let host = async {
            assert!(needs_setup(&mut host).await.unwrap());
            send_setup(&mut host, &setup()).await.unwrap();
        };
        let ((), got) = tokio::join!(host, agent);
        assert_eq!(got, setup());
    }

    #[tokio::test]
    async fn an_agent_that_serves_is_sent_nothing() {
        let (mut host, mut agent) = tokio::io::duplex(64);
        say_ready(&mut agent).await.unwrap();
        assert!(!needs_setup(&mut host).await.unwrap());
        drop(host);
        assert_eq!(agent.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_reason_is_bounded_and_cleaned() {
        let (mut host, mut agent) = tokio::io::duplex(4096);
        say_failed(&mut agent, &format!("no\x1b[31m filter {}", "ä".repeat(2000))).await.unwrap();
        let error = needs_setup(&mut host).await.unwrap_err().to_string();
        assert!(error.contains("no[31m filter ää") && error.len() < 1200, "{error}");
    }

    #[tokio::test]
    async fn what_is_no_state_is_refused() {
        let (mut host, mut agent) = tokio::io::duplex(64);
        agent.write_all(b"HTTP").await.unwrap();
        assert!(matches!(needs_setup(&mut host).await, Err(GateError::Unknown { byte: b'H' })));
        drop(agent);
        let (mut host, agent) = tokio::io::duplex(64);
        drop(agent);
        assert!(matches!(needs_setup(&mut host).await, Err(GateError::Stream { .. })));
    }

    #[tokio::test]
    async fn a_claimed_length_allocates_nothing() {
        let (mut host, mut agent) = tokio::io::duplex(64);
        host.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        assert!(ask_setup(&mut agent).await.is_err());
    }
}
