//! The way to an agent that nobody has spoken to yet. As long as that is so it can wait, be watched, and be given to
//! another process: the connection has no state but what the agent has said by itself, which is its hello.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use agentkernel_protocol::{Frame, Hello, Kind, MAGIC, decode};
use rustix::net::{AddressFamily, SocketType};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use super::check::hostile;
use crate::{BackendError, EndSignal};

/// More than any hello: a header, a version, a few numbers.
const LONGEST_HELLO: usize = 1024;

/// A stream to an agent; reads begin with what the agent has said already.
#[derive(Debug)]
pub struct UnspokenAgent {
    stream: UnixStream,
    said: Vec<u8>,
    /// Of `said`, what has been read.
    read: usize,
}

impl UnspokenAgent {
    /// The way over `stream`. Must be called within a tokio runtime.
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(UnixStream::from_std(stream)?.into())
    }

    /// The parts of one that waited in another process, which are believed no more than an agent is.
    pub fn from_parts(stream: OwnedFd, said: Vec<u8>) -> io::Result<Self> {
        let refuse = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if said.len() > LONGEST_HELLO {
            return refuse("the agent has said too much");
        }
        let is_unix = rustix::net::sockopt::socket_domain(&stream)? == AddressFamily::UNIX;
        if !is_unix || rustix::net::sockopt::socket_type(&stream)? != SocketType::STREAM {
            return refuse("the agent's stream is another kind of file");
        }
        Ok(Self { said, ..Self::new(stream.into())? })
    }

    /// What another process needs to go on.
    pub fn into_parts(self) -> io::Result<(OwnedFd, Vec<u8>)> {
        Ok((self.stream.into_std()?.into(), self.said))
    }

    /// Waits until the agent has said hello, which it does when it serves.
    pub async fn greeted(&mut self) -> Result<(), BackendError> {
        let ended = |why: &str| BackendError::BoxEnded { why: why.to_owned() };
        while !is_hello(&self.said)? {
            let mut buffer = [0; LONGEST_HELLO];
            let room = LONGEST_HELLO - self.said.len();
            match self.stream.read(&mut buffer[..room]).await {
                Ok(0) => return Err(ended("its agent is gone")),
                Ok(length) => self.said.extend_from_slice(&buffer[..length]),
                Err(error) => return Err(ended(&error.to_string())),
            }
        }
        Ok(())
    }

    /// When the agent hangs up.
    pub fn end(&self) -> io::Result<EndSignal> {
        hang_up_of(self.try_clone_fd()?)
    }

    /// Another descriptor of the stream, for who has to shut it down after the agent was spoken to.
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.stream.as_fd().try_clone_to_owned()
    }
}

impl From<UnixStream> for UnspokenAgent {
    fn from(stream: UnixStream) -> Self {
        Self { stream, said: Vec::new(), read: 0 }
    }
}

/// Completes when the other side of the socket `fd` has hung up. Reads nothing.
fn hang_up_of(fd: OwnedFd) -> io::Result<EndSignal> {
    let watched = UnixStream::from_std(fd.into())?;
    Ok(Box::pin(async move {
        // A socket that can't be watched is as good as gone.
        while let Ok(ready) = watched.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // What can be read is for others: this one waits for the next change.
            let waited: io::Result<()> =
                watched.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
            if waited.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
                return;
            }
        }
    }))
}

/// Whether `said` is a whole hello; an error where it can't become one.
fn is_hello(said: &[u8]) -> Result<bool, BackendError> {
    let strange = || hostile("something else than a hello");
    let Some((frame, _)) = Frame::decode(said).map_err(|error| hostile(error.to_string()))? else {
        return if said.len() < LONGEST_HELLO { Ok(false) } else { Err(strange()) };
    };
    let hello: Hello = decode(frame.payload).map_err(|_| strange())?;
    let expected = frame.kind == Kind::Hello && frame.channel == 0 && hello.magic.as_slice() == MAGIC;
    if expected { Ok(true) } else { Err(strange()) }
}

impl AsyncRead for UnspokenAgent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.said[self.read..];
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        self.read += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UnspokenAgent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use agentkernel_protocol::{Guest as ProtocolGuest, Machine, Role};
    use tokio::time::timeout;

    use super::*;
    use crate::AgentGuest;

    fn pair() -> (UnspokenAgent, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        (UnspokenAgent::new(ours).unwrap(), theirs)
    }

    fn hello() -> Vec<u8> {
        Machine::new(Role::Guest, "test").take_outgoing(Vec::new()).unwrap()
    }

    #[tokio::test]
    async fn a_hello_is_waited_for_and_kept_for_whoever_speaks_first() {
        let (mut agent, theirs) = pair();
        theirs.set_nonblocking(true).unwrap();
        let (guest, driver) = ProtocolGuest::new(UnixStream::from_std(theirs).unwrap(), "test");
        let driver = tokio::spawn(driver);
        agent.greeted().await.unwrap();
        let (fd, said) = agent.into_parts().unwrap();
        assert_eq!(said, hello());
        let agent = UnspokenAgent::from_parts(fd, said).unwrap();
        let host = AgentGuest::connect(agent);
        assert_eq!(host.ready().await.unwrap(), "test");
        drop(host);
        assert!(guest.accept().await.is_err());
        driver.await.unwrap();
    }

    #[tokio::test]
    async fn nonsense_and_silence_are_no_hello() {
        let (mut agent, mut theirs) = pair();
        theirs.write_all(&[0xff; 64]).unwrap();
        assert!(matches!(agent.greeted().await, Err(BackendError::HostileGuest { .. })));
        let (mut agent, mut theirs) = pair();
        // A frame that is longer than any hello, and never whole.
        theirs.write_all(&[0, 0x40, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        theirs.write_all(&[0; LONGEST_HELLO]).unwrap();
        assert!(matches!(agent.greeted().await, Err(BackendError::HostileGuest { .. })));
        let (mut agent, theirs) = pair();
        drop(theirs);
        assert!(matches!(agent.greeted().await, Err(BackendError::BoxEnded { .. })));
    }

    #[tokio::test]
    async fn the_end_is_seen_behind_an_unread_hello() {
        let (agent, mut theirs) = pair();
        let mut end = agent.end().unwrap();
        theirs.write_all(&hello()).unwrap();
        assert!(timeout(Duration::from_millis(50), &mut end).await.is_err(), "it lives");
        drop(theirs);
        timeout(Duration::from_secs(5), end).await.unwrap();
    }

    #[test]
    fn other_files_are_no_streams() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(UnspokenAgent::from_parts(null.into(), Vec::new()).is_err());
    }
}
